"""The command ``ui``: three pages in the browser."""

from __future__ import annotations

import argparse
from argparse import Namespace
from typing import TYPE_CHECKING

from narrows.cli.command import Command
from narrows.pipeline import Pipeline

if TYPE_CHECKING:
    from narrows.settings import Settings


def ui(settings: Settings, args: Namespace) -> int:
    """The three pages of this state folder."""
    from narrows.cli import pages

    return pages.ui(settings.state, settings.tracking_uri, args.port)


def arguments(parser: argparse.ArgumentParser, pipeline: Pipeline) -> None:
    """Of ``ui``."""
    parser.add_argument(
        "--port", type=int, default=8080, help="of the first page; the others take the next two (default 8080)"
    )


COMMAND = Command(
    "ui", "Serve the Airflow UI, the MLflow UI and the data docs on 127.0.0.1 until Ctrl-C.", ui, arguments,
    (("narrows ui", "Airflow, MLflow and the data docs on this machine"),),
)  # fmt: skip
