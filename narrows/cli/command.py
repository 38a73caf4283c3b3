"""What a command of ``narrows`` is: each is declared in the module that does it, and listed in `narrows.cli.commands`.

Modules with commands are imported at every start: they import what is heavy within their functions.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from narrows.pipeline import Pipeline

if TYPE_CHECKING:
    from narrows.settings import Settings

ASOF = "up to whose end events may be known: YYYY-MM-DD, or YYYY-MM-DDTHH where the grain is an hour"
FORCE = "also where the source does not reach the as-of; such lists do not go live"


def no_arguments(parser: argparse.ArgumentParser, pipeline: Pipeline) -> None:
    """For a command that takes none."""


@dataclass(frozen=True)
class Command:
    """One command of ``narrows``."""

    name: str
    text: str
    """What it does, in one sentence."""
    run: Callable[[Settings, argparse.Namespace], int]
    """Does it; returns the exit status. What it raises of `narrows.cli.failures.REMEDIES` is one line to the user."""
    arguments: Callable[[argparse.ArgumentParser, Pipeline], None] = no_arguments
    """Adds its arguments to its parser; the pipeline says which rooms there are."""
    examples: tuple[tuple[str, str], ...] = ()
    """Lines to type, each with what it does; the first is also in ``narrows --help``."""


def asof_required(parser: argparse.ArgumentParser) -> None:
    """``--asof``, read in the grain of the settings before the command runs."""
    parser.add_argument("--asof", required=True, help=ASOF)


def asof_optional(parser: argparse.ArgumentParser) -> None:
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
