"""A source whose files arrive one by one, and what the events room makes of it, period by period or at once."""

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
from narrows.stage import Output, Table
from narrows.store.write import write_table
from stages.events import Events

START = datetime(2024, 1, 1, tzinfo=UTC)
KINDS = {"positive": {"purchase": 1.0}, "context": ["view"], "exposure": ["impression"], "undo": ["return"]}
TYPES = ("purchase", "purchase", "purchase", "view", "impression", "return")
AT = pa.timestamp("us", "UTC")
SCHEMA = pa.schema(
    [
        ("user_id", pa.string()), ("item_id", pa.string()), ("event_time", AT), ("ingested_at", AT),
        ("event_type", pa.string()), ("value", pa.string()), ("price", pa.float64()), ("context", pa.string()),
        ("session_id", pa.string()), ("number", pa.int64()),
    ]
)  # fmt: skip


def log(seed: int, days: int, a_day: int = 12) -> list[dict[str, Any]]:
    """Rows with their arrival: one in six late by up to three days, copies that arrive the same day or later, broken ones."""
    rng, rows = random.Random(seed), []
    for day in range(days):
        for _ in range(a_day):
            at = START + timedelta(days=day, hours=rng.randrange(24), minutes=rng.choice([0, 0, 7]))
            late = timedelta(hours=rng.randrange(1, 72)) if rng.random() < 1 / 6 else timedelta()
            row: dict[str, Any] = {
                "user_id": f"u{rng.randrange(6)}", "item_id": f"i{rng.randrange(8)}", "event_time": at,
                "ingested_at": at + late, "event_type": rng.choice(TYPES), "value": rng.choice(["1", "2.5", None]),
                "price": rng.choice([None, 1.5, 4.25]), "context": rng.choice([None, "north", "south"]),
                "session_id": rng.choice([None, "a", "b"]),
            }  # fmt: skip
            if rng.random() < 0.1:
                row |= rng.choice(
                    [{"user_id": None}, {"value": "many"}, {"item_id": ""}, {"event_time": None},
                     {"ingested_at": at - timedelta(days=3)}]
                )  # fmt: skip
            rows.append(row)
            if rng.random() < 0.15:
                again = timedelta(hours=rng.choice([0, 1, 30, 100]))
                rows.append(row | {"ingested_at": at + late + again, "price": 9.0})
    return [row | {"number": number} for number, row in enumerate(rows)]


def arrived(row: dict[str, Any]) -> int:
    """The day on which a row's file arrives."""
    return max((row["ingested_at"] - START).days, 0)


def drop(folder: Path, name: str, rows: list[dict[str, Any]], schema: pa.Schema = SCHEMA) -> None:
    """Let a file arrive."""
    (folder / "events").mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema), folder / "events" / f"{name}.parquet")


def source(folder: Path, **given: Any) -> Source:
    """The source as it is now."""
    settings = SourceSettings(**{"name": "files", "events": "events", "kinds": KINDS, **given})
    return open_source(SimpleNamespace(source=settings, state=folder / "state", base=folder))  # type: ignore[arg-type]


def make(spark: Any, place: Path, source: Source, asof: Asof, earlier: Table | None = None, **room: Any) -> Table:
    """The events partition of an as-of, published in a folder."""
    room = {"max_bad_share": 1.0, **room}
    output: Output = Events(**room).transform(session=spark, source=source, asof=asof, earlier=earlier)
    write_table(output.data, place / "data")
    for name, data in output.side_tables.items():
        write_table(data, place / name)
    spark.catalog.clearCache()
    return Table("events", asof, "v", place, {"partitioned_by": "known", "notes": output.notes})


def make_several(
    spark: Any, place: Path, source: Source, asofs: list[Asof], earlier: Table | None = None
) -> dict[Asof, Table]:
    """The events partitions of several as-ofs, of one reading; the notes say which files each has of the one before it."""
    outputs = Events(max_bad_share=1.0).transform_several(session=spark, source=source, asofs=asofs, earlier=earlier)
    made = {}
    for asof in reversed(outputs):
        output, folder = outputs[asof], place / str(asof)
        write_table(output.data, folder / "data")
        for name, data in output.side_tables.items():
            write_table(data, folder / name)
        made[asof] = Table("events", asof, "v", folder, {"partitioned_by": "known", "notes": output.notes})
    spark.catalog.clearCache()
    return made


def contents(table: Table) -> tuple[Any, Any, Any]:
    """Everything that a partition says: its rows in order, its quarantine and its notes."""
    rows = sorted(map(str, table.arrow().to_pylist()))
    broken = sorted(map(str, table.side("quarantine").arrow().to_pylist())) if table.has_side("quarantine") else []
    return rows, broken, table.notes
