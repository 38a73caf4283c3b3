"""``narrows codesign``: a file of an experiment to run, or one of the actions."""

from __future__ import annotations

import argparse
from typing import Any

from narrows.cli.codesign import advise, flow, offpolicy, run
from narrows.cli.command import Command, example_lines
from narrows.pipeline import Pipeline

ACTIONS: tuple[Command, ...] = (run.ACTION, flow.ACTION, advise.ACTION, offpolicy.ACTION)
"""The first is meant where none is named: ``narrows codesign FILE``."""


def arguments(parser: argparse.ArgumentParser, pipeline: Pipeline) -> None:
    """One subcommand for each action."""
    parser.action_meant = ACTIONS[0].name  # type: ignore[attr-defined]  # of our own kind of parser
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for action in ACTIONS:
        epilog = f"examples:\n{example_lines(action.examples)}" if action.examples else ""
        made = actions.add_parser(
            action.name, help=action.text, description=action.text, epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        action.arguments(made, pipeline)


def codesign(settings: Any, args: argparse.Namespace) -> int:
    """Run the action."""
    from narrows.settings import load_settings

    action = next(each for each in ACTIONS if each.name == args.action)
    return action.run(load_settings(args.file) if action.reads_settings else None, args)


COMMAND = Command(
    "codesign",
    "Measure designs of a cascade against each other: training schemes, widths, models, cost.",
    codesign,
    arguments,
    tuple(action.examples[0] for action in ACTIONS),
    reads_settings=False,
)
