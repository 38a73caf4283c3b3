"""What a command of ``narrows`` is: each is declared in the module that does it, and listed in `narrows.cli.commands`.

Modules with commands are imported at every start: they import what is heavy within their functions.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from narrows.pipeline import Pipeline

ASOF = (
    "up to whose end events may be known: YYYY-MM-DD, or YYYY-MM-DDTHH where the grain is an hour (default: the latest "
    "that can be judged, else the latest that the source reaches)"
)
FORCE = "also where the source does not reach the as-of; such lists do not go live"


def no_arguments(parser: argparse.ArgumentParser, pipeline: Pipeline) -> None:
    """For a command that takes none."""


@dataclass(frozen=True)
class Command:
    """One command of ``narrows``."""

    name: str
    text: str
    """What it does, in one sentence."""
    run: Callable[[Any, argparse.Namespace], int]
    """Does it; returns the exit status. What it raises of `narrows.cli.failures.REMEDIES` is one line to the user."""
    arguments: Callable[[argparse.ArgumentParser, Pipeline], None] = no_arguments
    """Adds its arguments to its parser; the pipeline says which rooms there are."""
    examples: tuple[tuple[str, str], ...] = ()
    """Lines to type, each with what it does; the first is also in ``narrows --help``."""
    reads_settings: bool = True
    """Whether there must be settings; ``run`` gets None where not."""


def asof_to_make(parser: argparse.ArgumentParser) -> None:
    """``--asof``, where the latest that can be judged is the default; it is set before the command runs."""
    parser.add_argument("--asof", help=ASOF)
    parser.set_defaults(asof_to_make=True)


def asof_optional(parser: argparse._ActionsContainer) -> None:
    """``--asof``, where the newest partition is the default."""
    parser.add_argument("--asof", help="default: the newest partition")


def force(parser: argparse.ArgumentParser) -> None:
    """``--force``, to make what the source does not reach."""
    parser.add_argument("--force", action="store_true", help=FORCE)


def as_json(parser: argparse.ArgumentParser) -> None:
    """``--json``, for programs that read the output."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def example_lines(examples: tuple[tuple[str, str], ...]) -> str:
    """Examples below each other; empty for none."""
    width = max((len(typed) for typed, _ in examples), default=0)
    return "\n".join(f"  {typed:<{width}}  {what}".rstrip() for typed, what in examples)
