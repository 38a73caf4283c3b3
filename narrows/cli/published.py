"""Commands about what is published: the report of a run, a user's list, an item's way, takedowns."""

from __future__ import annotations

import json
from argparse import Namespace
from datetime import UTC, datetime
from typing import Any

from narrows.asof import Asof
from narrows.durations import in_words
from narrows.settings import Settings
from narrows.stage import NarrowingStage, Table
from narrows.store.partitions import Store, StoreError, open_store


def report(settings: Settings, args: Namespace) -> int:
    """One screen about a run."""
    from narrows.cli.report import print_report
    from narrows.cli.summary import to_json

    if getattr(args, "html", None) or getattr(args, "run", ""):
        from narrows.cli import page, record

        made = record.read(settings.state, getattr(args, "run", "") or str(args.asof or newest(settings)))
        if getattr(args, "html", None):
            page.write(settings, made, args.html)
            print(args.html)
            return 0
        facts = made["facts"]
    else:
        facts = facts_of(settings, args.asof or newest(settings))
    if getattr(args, "json", False):
        print(to_json(facts))
    else:
        print_report(facts)
    return 0


def facts_of(settings: Settings, asof: Asof) -> dict[str, Any]:
    """What the report says of the current tables of an as-of, as JSON values.

    Raises:
        StoreError: no run of it has published lists.
    """
    from narrows.cli.summary import summary

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
    events = [table for day in (asof, due) if (table := store.current("events", day))]
    return summary(
        judged.arrow().to_pylist() if judged else [],
        {room: cost_of(table) | past_cost(store, table) for room, table in tables.items() if table},
        rooms=list(settings.rooms), narrowing=[name for name, room in settings.rooms.items() if isinstance(room, NarrowingStage)],
        k=max(settings.rooms["evaluation"].cutoffs),  # type: ignore[attr-defined]
        asof=str(asof), source=settings.source.name, horizon=in_words(horizon), due=str(due),
        known_until=max((table.meta["notes"].get("ends", "") for table in events), default=""),
        serving=serving_state(settings, notes["recommendations"].get("release_id", "")),
        quarantine=notes.get("events", {}).get("quarantine"),
        next_steps=[
            "make ui          Airflow, MLflow and the data docs in the browser (127.0.0.1)",
            "narrows show 1   the list that user 1 is served",
            "narrows why USER ITEM   what happened to an item",
        ],
    )  # fmt: skip


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


def show(settings: Settings, args: Namespace) -> int:
    """A user's list as the serving database has it."""
    from narrows.cli import explain
    from narrows.serving import reading, schema

    engine = schema.open_published(settings.serving_url)
    if args.scene not in (known := reading.scenes(engine)):
        raise schema.ServingError(
            f"no list is live for scene {args.scene!r}. The scenes are: {', '.join(known) or 'none'}"
        )
    rows = reading.current(engine, args.user, args.scene)
    titles = titles_of(settings, [row["item_id"] for row in rows])
    for row in rows:
        row["title"] = titles.get(row["item_id"])
    print(json.dumps(rows, default=str, indent=1) if args.json else explain.show(args.user, rows))
    return 0


def titles_of(settings: Settings, items: list[str]) -> dict[str, str]:
    """What to call items: the title, or else category and subcategory."""
    import pyarrow as pa
    import pyarrow.compute as pc

    table = open_store(settings).current("item_profiles", newest(settings))
    if not table:
        return {}
    columns = ["item_id", "title", "category", "subcategory"]
    rows = table.arrow(columns, pc.field("item_id").isin(pa.array(items, pa.string()))).to_pylist()
    return {r["item_id"]: r["title"] or " / ".join(filter(None, [r["category"], r["subcategory"]])) for r in rows}


def why(settings: Settings, args: Namespace) -> int:
    """One item's way through the cascade, and what became of it since."""
    from narrows.cli import explain
    from narrows.serving import reading, schema

    store, asof = open_store(settings), args.asof or newest(settings)
    narrowing = [name for name, room in settings.rooms.items() if isinstance(room, NarrowingStage)]
    rooms = ("user_profiles", "item_profiles", *narrowing, "recommendations")
    tables = {room: store.current(room, asof) for room in rooms}
    if missing := [room for room, table in tables.items() if not table]:
        raise StoreError(f"no {missing[0]} as of {asof}. Run: narrows run --asof {asof}")
    facts = explain.trace(args.user, args.item, {room: table for room, table in tables.items() if table})
    engine = schema.open_published(settings.serving_url)
    facts["taken_down"] = reading.taken_down(engine).get(args.item)
    scene = settings.rooms["recommendations"].scene  # type: ignore[attr-defined]
    filled = [row for row in reading.current(engine, args.user, scene) if row["reason"] == "fallback"]
    facts["fallback"] = next((row["rank"] for row in filled if row["item_id"] == args.item), 0)
    print(json.dumps(facts, default=str, indent=1) if args.json else "\n".join(explain.words(facts)))
    return 0


def takedown(settings: Settings, args: Namespace) -> int:
    """Hide an item from every list, or put it back."""
    from narrows.serving import reading, schema

    engine = schema.open_published(settings.serving_url)
    if args.undo:
        if not reading.put_back(engine, args.item):
            taken = ", ".join(sorted(reading.taken_down(engine))) or "none"
            raise schema.ServingError(f"item {args.item} is not taken down. Taken down are: {taken}")
        print(f"item {args.item} is back")
        return 0
    if not (args.force or reading.knows(engine, args.item) or in_catalogue(settings, args.item)):
        raise schema.ServingError(
            f"no list and no item profile has an item {args.item!r}. Check the id; to take it down before it appears: --force"
        )
    reading.takedown(engine, args.item, args.reason, datetime.now(UTC))
    print(f"item {args.item} is gone from every list; undo: narrows takedown {args.item} --undo")
    return 0


def in_catalogue(settings: Settings, item: str) -> bool:
    """Whether the newest item profiles have the item."""
    import pyarrow.compute as pc

    store = open_store(settings)
    days = store.partitions("item_profiles")
    table = store.current("item_profiles", days[-1]) if days else None
    return table is not None and table.arrow(["item_id"], pc.field("item_id") == item).num_rows > 0


def newest(settings: Settings) -> Asof:
    """The newest partition with lists.

    Raises:
        StoreError: there is none.
    """
    days = open_store(settings).partitions("recommendations")
    if not days:
        raise StoreError("nothing is published yet. Run: make run")
    return days[-1]
