"""What the commands of ``narrows`` do; each takes the settings and its arguments."""

from __future__ import annotations

import json
import logging
import os
from argparse import Namespace
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from narrows.asof import Asof
from narrows.audit.contract import BrokenContract, ContractError
from narrows.cli import airflow as workflow
from narrows.engine.java import JavaError, check_java, require_java
from narrows.run.runner import Pending, Runner
from narrows.settings import Settings
from narrows.source.files import SourceError
from narrows.stage import NarrowingStage, Table
from narrows.store.partitions import StoreError, open_store
from narrows.tracking.log import Journal

LOG = logging.getLogger(__name__)
REMEDIES = (SourceError, StoreError, ContractError, BrokenContract, JavaError, workflow.WorkflowError)
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
            if runner.made:
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
    if room == runner.pipeline.names[-1] and runner.log and (runner.made or not table):
        runner.log.finish(table.meta["notes"] if table else {})
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
    code = workflow.run_dag(str(args.asof), settings.state, force=args.force)
    return code or report(settings, args)


def report(settings: Settings, args: Namespace) -> int:
    """One screen about a run."""
    from narrows.cli import report as page

    store, asof = open_store(settings), args.asof or newest(settings)
    tables = {room: store.current(room, asof) for room in settings.pipeline.names}
    if not tables["recommendations"]:
        days = [str(day) for day in store.partitions("recommendations")]
        raise StoreError(
            f"no run as of {asof}. The newest are as of {', '.join(days[-5:])}"
            if days
            else f"no run as of {asof}. Run: narrows run --asof {asof}"
        )
    judged = tables["evaluation"]
    notes = {room: table.meta["notes"] for room, table in tables.items() if table}
    said = page.summary(
        judged.arrow().to_pylist() if judged else [],
        {room: cost_of(table) for room, table in tables.items() if table},
        asof=str(asof), source=settings.source.name, horizon_days=settings.source.horizon_length.days,
        quarantine=notes.get("events", {}).get("quarantine"),
        next_steps=[
            "make ui          Airflow, MLflow and the data docs in the browser (127.0.0.1)",
            "narrows show 1   the list that user 1 is served;  narrows why USER ITEM   what happened to an item",
        ],
    )  # fmt: skip
    print(page.to_json(said) if getattr(args, "json", False) else page.text(said))
    return 0


def cost_of(table: Table) -> dict[str, float | None]:
    """A room's rows in (None where it counts none) and out and what it spent, fitting included."""
    notes, cost = table.meta["notes"], table.meta["cost"]
    fitted = notes.get("fit_cost", {})
    spent = {key: cost[key] + fitted.get(key, 0) for key in ("seconds", "cpu_seconds")}
    peak = max(cost["peak_mb"], fitted.get("peak_mb", 0))
    return {**spent, "peak_mb": peak, "rows_in": notes.get("received"), "rows_out": notes.get("kept", table.rows)}


def show(settings: Settings, args: Namespace) -> int:
    """A user's list as the serving database has it."""
    from narrows.cli import explain as story
    from narrows.serving import reading, schema

    engine = schema.open_published(settings.serving_url)
    rows = reading.current(engine, args.user, args.scene)
    titles = titles_of(settings, [row["item_id"] for row in rows])
    for row in rows:
        row["title"] = titles.get(row["item_id"])
    print(json.dumps(rows, default=str, indent=1) if args.json else story.show(args.user, rows))
    return 0


def titles_of(settings: Settings, items: list[str]) -> dict[str, str]:
    """What to call items: the title, or else category and subcategory."""
    import pyarrow.compute as pc

    table = open_store(settings).current("item_profiles", newest(settings))
    if not table:
        return {}
    columns = ["item_id", "title", "category", "subcategory"]
    rows = table.arrow(columns, pc.field("item_id").isin(items)).to_pylist()
    return {r["item_id"]: r["title"] or " / ".join(filter(None, [r["category"], r["subcategory"]])) for r in rows}


def why(settings: Settings, args: Namespace) -> int:
    """One item's way through the cascade, and what became of it since."""
    from narrows.cli import explain as story
    from narrows.serving import reading, schema

    store, asof = open_store(settings), args.asof or newest(settings)
    rooms = ("user_profiles", "item_profiles", "recall", "prerank", "rank", "rerank", "recommendations")
    tables = {room: store.current(room, asof) for room in rooms}
    if missing := [room for room, table in tables.items() if not table]:
        raise StoreError(f"no {missing[0]} as of {asof}. Run: narrows run --asof {asof}")
    told = story.trace(args.user, args.item, tables)
    engine = schema.open_published(settings.serving_url)
    told["taken_down"] = reading.taken_down(engine).get(args.item)
    scene = settings.rooms["recommendations"].scene  # type: ignore[attr-defined]
    filled = [row for row in reading.current(engine, args.user, scene) if row["reason"] == "fallback"]
    told["fallback"] = next((row["rank"] for row in filled if row["item_id"] == args.item), 0)
    print(json.dumps(told, default=str, indent=1) if args.json else "\n".join(story.words(told)))
    return 0


def takedown(settings: Settings, args: Namespace) -> int:
    """Hide an item from every list, or put it back."""
    from narrows.serving import reading, schema

    engine = schema.open_engine(settings.serving_url)
    schema.create(engine)
    if args.undo:
        print(
            f"item {args.item} is back"
            if reading.put_back(engine, args.item)
            else f"item {args.item} was not taken down"
        )
        return 0
    reading.takedown(engine, args.item, args.reason, datetime.now(UTC))
    print(f"item {args.item} is gone from every list; undo: narrows takedown {args.item} --undo")
    return 0


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


def connect(settings: Settings, run_id: str, asof: Asof, force: bool = False) -> tuple[Runner, Journal]:
    """A runner that logs to MLflow."""
    journal = Journal(settings, run_id, asof)
    return Runner(settings, run_id, journal, beside=True, force=force), journal


def newest(settings: Settings) -> Asof:
    """The newest partition with lists.

    Raises:
        StoreError: there is none.
    """
    days = open_store(settings).partitions("recommendations")
    if not days:
        raise StoreError("nothing is published yet. Run: make run")
    return days[-1]


COMMANDS: dict[str, Callable[[Settings, Any], int]] = {
    "run": run, "transform": transform, "fit": fit, "dag": dag, "report": report, "show": show, "why": why,
    "takedown": takedown, "list": list_rooms, "ui": ui, "catalogue": catalogue, "doctor": doctor,
}  # fmt: skip
