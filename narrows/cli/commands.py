"""What the commands of ``narrows`` do; each takes the settings and its arguments."""

from __future__ import annotations

import json
import logging
import os
from argparse import Namespace
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import import_module
from threading import Thread
from typing import Any

from narrows.asof import Asof
from narrows.audit.contract import BrokenContract, ContractError
from narrows.cli import airflow as workflow
from narrows.cli import record
from narrows.cli.published import report, show, takedown, why
from narrows.cli.summary import PUBLISHER
from narrows.engine.java import JavaError, check_java, require_java
from narrows.run.runner import Pending, Runner
from narrows.settings import Settings
from narrows.source.files import SourceError
from narrows.stage import NarrowingStage, Table
from narrows.store.partitions import StoreError, open_store
from narrows.tracking.log import RunLog, code_version
from narrows.tracking.runs import TrackingError

LOG = logging.getLogger(__name__)

REMEDIES = (SourceError, StoreError, ContractError, BrokenContract, JavaError, TrackingError, workflow.WorkflowError)
"""Errors whose message is all there is to say."""


def run(settings: Settings, args: Namespace) -> int:
    """The whole line in this process."""
    require_java()
    run_id = f"line-{args.asof}-{datetime.now(UTC):%Y%m%dT%H%M%S}"
    runner, journal = connect(settings, run_id, args.asof, args.force)
    with runner.store.lock(f"narrows run --asof {args.asof}"):
        try:
            for room in settings.pipeline.names:
                make(runner, room, args.asof)
        except BaseException:
            if runner.new_versions:
                journal.finish({}, "FAILED")
            raise
    return report(settings, args)


def transform(settings: Settings, args: Namespace) -> int:
    """One room; the version is the last word on standard output."""
    runner, _ = connect(settings, args.run_id or f"rooms-{args.asof}", args.asof, args.force)
    with runner.store.lock(f"narrows transform {args.room} --asof {args.asof}"):
        table = make(runner, args.room, args.asof)
    print(table.version if table else "pending")
    return 0


def make(runner: Runner, room: str, asof: Asof) -> Table | None:
    """Run a room; None if it waits for its horizon. The last room closes the run in MLflow."""
    table: Table | None = None
    try:
        table = runner.run(room, asof)
    except Pending as waits:
        LOG.info("  %-16s %s  waits: %s", room, asof, waits)
    if room == runner.pipeline.names[-1]:
        log = runner.log if runner.new_versions or not table else None
        if log:
            log.finish(table.meta["notes"] if table else {})
        if PUBLISHER in runner.pipeline.names:
            from narrows.cli import page

            made = record.write(runner.settings, runner.run_id, asof, code_version())
            file = page.publish(runner.settings, made)
            if log:
                log.attach(file, "report.html")
    return table


def fit(settings: Settings, args: Namespace) -> int:
    """One room's model; its folder is printed."""
    runner, _ = connect(settings, args.run_id or f"rooms-{args.asof}", args.asof)
    with runner.store.lock(f"narrows fit {args.room} --asof {args.asof}"):
        print(runner.model(args.room, args.asof)[1].model_folder)
    return 0


def dag(settings: Settings, args: Namespace) -> int:
    """The whole line as a run of the daily DAG."""
    require_java()
    if args.file:
        os.environ["NARROWS_FILE"] = str(args.file.absolute())  # the tasks are processes of their own
    Thread(target=import_module, args=("pyarrow.dataset",), daemon=True).start()  # for the report, while Airflow starts
    code = workflow.run_dag(str(args.asof), settings.state, force=args.force)
    return code or report(settings, args)


def list_rooms(settings: Settings, args: Namespace) -> int:
    """The rooms, in order."""
    store, rows = open_store(settings), []
    for name in settings.pipeline.names:
        room = settings.pipeline.room(name)
        days = store.partitions(name)
        table = store.current(name, days[-1]) if days else None
        kind = "narrows" if issubclass(room, NarrowingStage) else "table"
        newest_rows = table.rows if table else 0
        rows.append({"room": name, "kind": kind, "reads": sorted(settings.pipeline.inputs(name)), "partitions": len(days),
                     "newest": str(days[-1]) if days else "", "rows": newest_rows})  # fmt: skip
    if args.json:
        print(json.dumps(rows, indent=1))
        return 0
    print(f"{'room':<16} {'kind':<8} {'newest':<11} {'rows':>10}  reads")
    for row in rows:
        reads = ", ".join(settings.pipeline.inputs(str(row["room"])))
        print(f"{row['room']:<16} {row['kind']:<8} {row['newest'] or '-':<11} {row['rows']:>10,}  {reads}")
    return 0


def ui(settings: Settings, args: Namespace) -> int:
    """The three pages."""
    from narrows.cli.pages import ui as serve

    return serve(settings.state, settings.tracking_uri, args.port)


def catalogue(settings: Settings, args: Namespace) -> int:
    """The feature catalogue, with the features that plug-ins register."""
    from features.definitions import markdown

    print(markdown(), end="")
    return 0


def doctor(settings: Settings, args: Namespace) -> int:
    """What a run needs, checked before it is needed."""
    from narrows.source.files import open_source

    java = check_java()
    print(f"java      {java or 'fine'}")
    print(f"state     {settings.state}")
    source = open_source(settings)
    print(f"source    {settings.source.name}: {len(source.files(source.settings.events))} file(s) of events")
    try:
        import torch

        device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
        print(f"device    {device}, torch {torch.__version__}")
        import faiss

        print(f"faiss     {faiss.__version__}, {'GPU' if hasattr(faiss, 'StandardGpuResources') else 'CPU'}")
    except ImportError as error:
        print(f"missing   {error.name}. Run: pip install -e '.[cpu]' -c constraints.txt")
        return 2
    return 2 if java else 0


def connect(settings: Settings, run_id: str, asof: Asof, force: bool = False) -> tuple[Runner, RunLog]:
    """A runner that logs to MLflow."""
    run_log = RunLog(settings, run_id, asof)
    return Runner(settings, run_id, run_log, in_background=True, force=force), run_log


COMMANDS: dict[str, Callable[[Settings, Any], int]] = {
    "run": run, "transform": transform, "fit": fit, "dag": dag, "report": report, "show": show, "why": why,
    "takedown": takedown, "list": list_rooms, "ui": ui, "catalogue": catalogue, "doctor": doctor,
}  # fmt: skip
