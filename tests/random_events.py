"""A small random world with every awkward case in it: ties, late rows, nulls, strangers."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from narrows.asof import Asof
from narrows.settings import SourceSettings
from narrows.source.files import Source, open_source
from narrows.stage import Table
from narrows.store.write import write_table
from stages.events import Events

START = datetime(2024, 1, 1, tzinfo=UTC)
DAYS = 150
STRINGS = (
    "user_id",
    "item_id",
    "context",
    "session_id",
    "title",
    "category",
    "subcategory",
    "brand",
    "department",
    "segment",
)


def events(seed: int, users: int = 12, count: int = 900) -> list[dict[str, Any]]:
    """Events by hour, so that many share an instant; one in six arrives days later; users > 9 and items > 25 are strangers."""
    rng = random.Random(seed)
    by_key: dict[tuple, dict[str, Any]] = {}
    for _ in range(count):
        time = START + timedelta(
            hours=rng.randrange(DAYS * 24) if rng.random() < 0.7 else rng.randrange(DAYS) * 24 + 23
        )
        late = timedelta(hours=rng.randrange(1, 400)) if rng.random() < 1 / 6 else timedelta()
        event = {
            "user_id": f"u{rng.randrange(users)}", "item_id": f"i{rng.randrange(30)}", "event_time": time,
            "ingested_at": time + late, "value": rng.choice([1.0, 2.0, 3.5, None]), "price": rng.choice([None, 1.5, 4.0]),
            "context": rng.choice([None, "north", "south"]), "session_id": rng.choice([None, "basket a", "basket b"]),
        }  # fmt: skip
        by_key[tuple(event[key] for key in ("user_id", "item_id", "event_time", "session_id"))] = event
    return list(by_key.values())


def items() -> list[dict[str, Any]]:
    """Items 0 to 24 and three that nobody ever met; some lack a category or a brand, one in three the day it is available."""
    return [
        {"item_id": f"i{n}", "title": None, "category": None if n % 7 == 0 else f"c{n % 4}", "subcategory": f"s{n % 9}",
         "brand": f"b{n % 5}" if n % 3 else None, "department": None,
         "available_at": START + timedelta(days=5 * n - 40) if n % 3 else None}
        for n in [*range(25), 31, 32, 99]
    ]  # fmt: skip


def users() -> list[dict[str, Any]]:
    """Users 0 to 8 and one without an event; some lack a segment."""
    return [{"user_id": f"u{n}", "segment": None if n == 3 else f"g{n % 2}"} for n in [*range(9), 77]]


def table(rows: list[dict[str, Any]]) -> pa.Table:
    """The rows with their types, also of columns that are all null."""
    kinds = dict.fromkeys(("event_time", "ingested_at", "available_at"), pa.timestamp("us", "UTC"))
    schema = [(name, pa.string() if name in STRINGS else kinds.get(name, pa.float64())) for name in rows[0]]
    return pa.Table.from_pylist(rows, pa.schema(schema))


def source(folder: Path, rows: list[dict[str, Any]], sides: bool = True) -> Source:
    """The world as files and the source that reads them, its items and users tables or the events alone."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, given in (("events", rows), ("items", items()), ("users", users())):
        pq.write_table(table(given), folder / f"{name}.parquet")
    tables = {"items": "items.parquet", "users": "users.parquet"} if sides else {}
    given = SourceSettings(name="files", events="events.parquet", **tables)
    return open_source(SimpleNamespace(source=given, state=folder / "state", base=folder))  # type: ignore[arg-type]


def published(session: Any, folder: Path, source: Source, asof: Asof) -> tuple[Table, Table, Table]:
    """What the events room makes of a source, in ``folder``: events, items and users."""
    output = Events().transform(session=session, source=source, asof=asof)
    tables = []
    for name, data in (
        ("events", output.data),
        ("items", output.side_tables["items"]),
        ("users", output.side_tables["users"]),
    ):
        write_table(data, folder / name / "data")
        meta = {"partitioned_by": "known"} if name == "events" else {}
        tables.append(Table(name, asof, "v", folder / name, meta))
    return tables[0], tables[1], tables[2]
