"""The command ``catalogue``: every feature with its definition."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from narrows.cli.command import Command

if TYPE_CHECKING:
    from narrows.settings import Settings


def catalogue(settings: Settings, args: Namespace) -> int:
    """The feature catalogue, with the features that plug-ins register."""
    from features.definitions import markdown

    print(markdown(), end="")
    return 0


COMMAND = Command("catalogue", "Every feature with its definition, as Markdown.", catalogue)
