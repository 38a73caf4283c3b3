"""The command ``ui``: the pages in the browser, and what runs the DAG that is triggered there."""

from __future__ import annotations

import argparse
import os
from argparse import Namespace
from typing import TYPE_CHECKING

from narrows.cli.command import Command
from narrows.pipeline import Pipeline

if TYPE_CHECKING:
    from narrows.settings import Settings

TEXT = "Serve Airflow, MLflow, the reports and the data docs on 127.0.0.1 until Ctrl-C, and run what is triggered in Airflow."
STARTS = """Airflow's API server, scheduler and DAG processor, MLflow's server, and a server of the reports and data docs.
Trigger and Backfill work at once, before the first run too; no run starts by the clock. While this is up, `narrows dag`
hands its run to the scheduler. A run that is not over at Ctrl-C goes on when this is started next."""


def ui(settings: Settings, args: Namespace) -> int:
    """The pages of this state folder."""
    from narrows.cli.pages import servers as pages

    if args.file:
        os.environ["NARROWS_FILE"] = str(args.file.absolute())  # the tasks are processes of their own
    return pages.ui(settings.state, settings.tracking_uri, args.port, experiment=settings.mlflow.experiment)


def arguments(parser: argparse.ArgumentParser, pipeline: Pipeline) -> None:
    """Of ``ui``."""
    parser.description = f"{TEXT}\n\n{STARTS}"
    parser.add_argument(
        "--port", type=int, default=8080, help="of the first page; the others take the next two (default 8080)"
    )


COMMAND = Command(
    "ui", TEXT, ui, arguments,
    (
        ("narrows ui", "Airflow on 8080, MLflow on 8081, reports and data docs on 8082"),
        ("narrows ui --port 9080", "on 9080, 9081 and 9082"),
    ),
)  # fmt: skip
