"""The command ``catalogue``: every feature with its definition."""

from __future__ import annotations

import argparse
import json
from argparse import Namespace
from typing import TYPE_CHECKING

from narrows.cli.command import Command, as_json
from narrows.pipeline import Pipeline

if TYPE_CHECKING:
    from narrows.settings import Settings


def catalogue(settings: Settings, args: Namespace) -> int:
    """The feature catalogue, with the features that plug-ins register."""
    from features.definitions import markdown, rows

    print(json.dumps(rows(), indent=1) if args.json else markdown(), end="\n" if args.json else "")
    return 0


def arguments(parser: argparse.ArgumentParser, pipeline: Pipeline) -> None:
    """Of ``catalogue``."""
    as_json(parser)


COMMAND = Command("catalogue", "Every feature with its definition, as Markdown.", catalogue, arguments)
