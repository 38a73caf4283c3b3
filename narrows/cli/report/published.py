"""The command ``report``, and what is newest."""

from __future__ import annotations

import argparse
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from narrows.asof import Asof
from narrows.cli.command import Command, as_json, asof_optional
from narrows.cli.invocation import next_steps
from narrows.durations import in_words
from narrows.pipeline import Pipeline
from narrows.store.partitions import Store, StoreError, open_store

if TYPE_CHECKING:
    from narrows.settings import Settings
    from narrows.stage import Table


def report(settings: Settings, args: Namespace) -> int:
    """One screen about a run, or its page."""
    from narrows.cli.report import record

    asof = args.asof or newest(settings)
    if not args.html and not args.run:
        return print_newest(settings, asof, args.json)
    made = record.read(settings.state, args.run or str(asof))
    if args.html:
        from narrows.cli.report import page

        page.write(settings, made, args.html)
        print(args.html)
        return 0
    return _printed(settings.state, made["facts"], made, args.json)


def print_newest(settings: Settings, asof: Asof, as_json: bool = False) -> int:
    """The report of the current tables of an as-of."""
    from narrows.cli.report import record

    return _printed(settings.state, facts_of(settings, asof), record.of_tables(settings, asof), as_json)


def _printed(state: Path, facts: dict[str, Any], made: dict[str, Any] | None, as_json: bool) -> int:
    from narrows.cli.report.last_runs import last_judged
    from narrows.cli.report.screen import print_report
    from narrows.cli.report.summary import to_json

    facts |= {"warning": (made or {}).get("against", {}).get("warning", "")}
    facts |= {"last": last_judged(state, facts["source"], facts["asof"])}
    if as_json:
        print(to_json(facts))
    else:
        print_report(facts)
    return 0


def facts_of(settings: Settings, asof: Asof) -> dict[str, Any]:
    """What the report says of the current tables of an as-of, as JSON values.

    Raises:
        StoreError: no run of it has published lists.
    """
    from narrows.cli.report.summary import summary
    from narrows.stage import NarrowingStage

    store = open_store(settings)
    tables = {room: store.current(room, asof) for room in settings.rooms}
    if not tables["recommendations"]:
        days = [str(day) for day in store.partitions("recommendations")]
        raise StoreError(
            f"no run as of {asof}. The newest are as of {', '.join(days[-5:])}"
            if days
            else f"no run as of {asof}. Run: narrows run --asof {asof}"
        )
    judged, horizon = tables["evaluation"], settings.source.horizon_length
    due = asof + horizon
    notes = {room: table.meta["notes"] for room, table in tables.items() if table}
    narrowing = [name for name, room in settings.rooms.items() if isinstance(room, NarrowingStage)]
    events = [table for day in (asof, due) if (table := store.current("events", day))]
    return summary(
        judged.arrow().to_pylist() if judged else [],
        {room: cost_of(table) | past_cost(store, table) for room, table in tables.items() if table},
        rooms=list(settings.rooms), narrowing=narrowing, fused=notes.get(narrowing[-1], {}).get("fused"),
        k=max(settings.rooms["evaluation"].cutoffs),  # type: ignore[attr-defined]
        asof=str(asof), source=settings.source.name, horizon=in_words(horizon), due=str(due),
        known_until=max((table.meta["notes"].get("ends", "") for table in events), default=""),
        serving=serving_state(settings, notes["recommendations"].get("release_id", "")),
        kinds=notes.get("events", {}).get("kinds"), quarantine=notes.get("events", {}).get("quarantine"),
        stood_back=stood_back(notes),
        contract_warnings=[line for table in tables.values() if table for line in table.meta.get("warnings", ())],
        next_steps=next_steps(settings, tables["recommendations"]),
    )  # fmt: skip


def stood_back(notes: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rooms whose model gave way to a simple order, as it was not better on the latest complete horizon.

    A room's notes say so: ``order`` names what it orders by ``instead_of`` what, ``worth_<name>`` what both are worth
    by the metric ``judged_by``, NDCG where nothing is said; ``kept_by`` says what is kept, if not the order.
    """
    return [
        {"room": room, **{key: each[key] for key in ("order", "instead_of")},
         "worth": each[f"worth_{each['order']}"], "worth_of_model": each[f"worth_{each['instead_of']}"],
         "judged_by": each.get("judged_by", "ndcg"), "kept_by": each.get("kept_by", each["order"])}
        for room, each in notes.items()
        if each.get("instead_of")
    ]  # fmt: skip


def serving_state(settings: Settings, release_id: str) -> dict[str, Any]:
    """Whether the release of a run is served now, and why not, as the serving database has it."""
    from narrows.serving import reading, schema

    try:
        engine = schema.open_published(settings.serving_url)
        return {"release_id": release_id, **reading.state(engine, release_id)}
    except schema.ServingError as error:
        return {"release_id": release_id, "live": False, "kept_because": str(error)}


def cost_of(table: Table) -> dict[str, float | None]:
    """A room's rows in (None where it counts none) and out and what it spent, fitting included."""
    notes, cost = table.meta["notes"], table.meta["cost"]
    fitted = notes.get("fit_cost", {})
    spent = {key: cost[key] + fitted.get(key, 0) for key in ("seconds", "cpu_seconds")}
    peak = max(cost["peak_mb"], fitted.get("peak_mb", 0))
    return {**spent, "peak_mb": peak, "rows_in": notes.get("received"), "rows_out": notes.get("kept", table.rows)}


def past_cost(store: Store, table: Table) -> dict[str, float]:
    """What the run that made a room's partition spent on the room's other partitions and models: those of its windows."""
    spent = {"past_seconds": 0.0, "past_cpu_seconds": 0.0}
    for name in (table.name, f"{table.name}.model"):
        for asof in store.partitions(name):
            other = store.current(name, asof) if asof != table.asof else None
            if other and other.meta["run_id"] == table.meta["run_id"]:
                spent = {key: value + other.meta["cost"][key.removeprefix("past_")] for key, value in spent.items()}
    return spent


def newest(settings: Settings) -> Asof:
    """The newest partition with lists.

    Raises:
        StoreError: there is none.
    """
    days = open_store(settings).partitions("recommendations")
    if not days:
        raise StoreError("nothing is published yet. Run: narrows run")
    return days[-1]


def arguments(parser: argparse.ArgumentParser, pipeline: Pipeline) -> None:
    """Of ``report``."""
    as_json(parser)
    asof_optional(which := parser.add_mutually_exclusive_group())
    which.add_argument("--run", default="", help="a recorded run, by its number or its id")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write the run's page there instead")


COMMAND = Command(
    "report", "What a run did: stages, quality, cost.", report, arguments, (
        ("narrows report", "what the newest run did, on one screen"),
        ("narrows report --json", "the same for a program"),
        ("narrows report --run 3 --html run.html", "a recorded run as a page that works offline"),
    ),
)  # fmt: skip
