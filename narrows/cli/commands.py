"""What the commands of ``narrows`` do; each takes the settings and its arguments."""

from __future__ import annotations

import json
import os
from argparse import Namespace
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

from narrows.audit.contract import BrokenContract, ContractError
from narrows.cli import airflow as workflow
from narrows.cli.published import report, rollback, show, takedown, why
from narrows.engine.java import JavaError, check_java, require_java
from narrows.run.runner import Pending, Runner, say
from narrows.settings import Settings
from narrows.source.files import SourceError
from narrows.stage import NarrowingStage, Table, inputs, load_room
from narrows.store.partitions import Store, StoreError
from narrows.tracking.log import RunLog
from narrows.tracking.runs import TrackingError
from stages import PIPELINE

REMEDIES = (SourceError, StoreError, ContractError, BrokenContract, JavaError, TrackingError, workflow.WorkflowError)
"""Errors whose message is all there is to say."""


def run(settings: Settings, args: Namespace) -> int:
    """The whole line in this process."""
    require_java()
    run_id = f"line-{args.asof}-{datetime.now(UTC):%Y%m%dT%H%M%S}"
    runner, journal = connect(settings, run_id, args.asof)
    with runner.store.lock(f"narrows run --asof {args.asof}"):
        try:
            for room in PIPELINE:
                make(runner, room, args.asof)
        except BaseException:
            if runner.made:
                journal.finish({}, "FAILED")
            raise
    return report(settings, args)


def transform(settings: Settings, args: Namespace) -> int:
    """One room; the version is the last word on standard output."""
    runner, _ = connect(settings, args.run_id or f"rooms-{args.asof}", args.asof)
    with runner.store.lock(f"narrows transform {args.room} --asof {args.asof}"):
        table = make(runner, args.room, args.asof)
    print(table.version if table else "pending")
    return 0


def make(runner: Runner, room: str, asof: date) -> Table | None:
    """Run a room; None if it waits for its horizon. The last room closes the run in MLflow."""
    table: Table | None = None
    try:
        table = runner.run(room, asof)
    except Pending as waits:
        say(f"  {room:<16} {asof}  waits: {waits}")
    if room == PIPELINE[-1] and runner.log and (runner.made or not table):
        runner.log.finish(table.meta["notes"] if table else {})  # type: ignore[attr-defined]
    return table


def fit(settings: Settings, args: Namespace) -> int:
    """One room's model; its folder is printed."""
    runner, _ = connect(settings, args.run_id or f"rooms-{args.asof}", args.asof)
    with runner.store.lock(f"narrows fit {args.room} --asof {args.asof}"):
        print(runner.model(args.room, args.asof)[1].path / "model")
    return 0


def dag(settings: Settings, args: Namespace) -> int:
    """The whole line as a run of the daily DAG."""
    require_java()
    if args.file:
        os.environ["NARROWS_FILE"] = str(args.file.absolute())  # the tasks are processes of their own
    code = workflow.run_dag(args.asof.isoformat(), settings.state)
    return code or report(settings, args)


def list_rooms(settings: Settings, args: Namespace) -> int:
    """The rooms, in order."""
    store, rows = Store(settings.state / "tables"), []
    for name in PIPELINE:
        room = load_room(name)
        days = store.partitions(name)
        table = store.current(name, days[-1]) if days else None
        kind = "narrows" if issubclass(room, NarrowingStage) else "table"
        newest_rows = table.rows if table else 0
        rows.append({"room": name, "kind": kind, "reads": sorted(inputs(room)), "partitions": len(days),
                     "newest": str(days[-1]) if days else "", "rows": newest_rows})  # fmt: skip
    if args.json:
        print(json.dumps(rows, indent=1))
        return 0
    print(f"{'room':<16} {'kind':<8} {'newest':<11} {'rows':>10}  reads")
    for row in rows:
        reads = ", ".join(inputs(load_room(str(row["room"]))))
        print(f"{row['room']:<16} {row['kind']:<8} {row['newest'] or '-':<11} {row['rows']:>10,}  {reads}")
    return 0


def ui(settings: Settings, args: Namespace) -> int:
    """The three pages."""
    from narrows.cli.pages import ui as serve

    return serve(settings.state, settings.tracking_uri, args.port)


def catalogue(settings: Settings, args: Namespace) -> int:
    """The feature catalogue."""
    from features.catalogue import markdown

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


def connect(settings: Settings, run_id: str, asof: date) -> tuple[Runner, RunLog]:
    """A runner that logs to MLflow."""
    run_log = RunLog(settings, run_id, asof)
    return Runner(settings, run_id, run_log, beside=True), run_log


COMMANDS: dict[str, Callable[[Settings, Any], int]] = {
    "run": run, "transform": transform, "fit": fit, "dag": dag, "report": report, "show": show, "why": why,
    "takedown": takedown, "rollback": rollback, "list": list_rooms, "ui": ui, "catalogue": catalogue, "doctor": doctor,
}  # fmt: skip
