"""A live feed of a landing folder, and what the rooms make of what was taken of it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from narrows.asof import Asof
from narrows.cli.stream import Measure
from narrows.settings import Settings, load_settings
from narrows.source.files import open_source
from narrows.stage import Table
from narrows.stream import query
from narrows.stream.pieces import Pieces
from tests import arrivals
from tests.arrivals import START, make

HOUR = timedelta(hours=1)
SETTINGS = """[source]
name = "files"
events = "events"
grain = "hour"
horizon = "1h"
[source.kinds]
positive = ["purchase"]
context = ["view"]
exposure = ["impression"]
undo = ["return"]
[stream]
landing = "landing"
lateness = "1m"
[events]
max_bad_share = 1.0
[item_profiles]
demand_cuts = 0
[spark]
master = "local[1]"
shuffle_partitions = 1
"""


class Killed(RuntimeError):
    """Stands for a kill."""


def write(folder: Path) -> Settings:
    (folder / "landing").mkdir(parents=True, exist_ok=True)
    (folder / "narrows.toml").write_text(SETTINGS)
    return load_settings(folder / "narrows.toml", {})


def land(folder: Path, name: str, rows: list[dict[str, Any]], schema: pa.Schema = arrivals.SCHEMA) -> Path:
    """Let a file arrive as a careful writer does: under a hidden name, then renamed."""
    draft = folder / "landing" / f".{name}.part"
    pq.write_table(pa.Table.from_pylist(rows, schema), draft)
    return draft.rename(folder / "landing" / f"{name}.parquet")


def take(spark: Any, settings: Settings) -> Pieces:
    """What `narrows stream` does."""
    return query.take(spark, settings, open_source(settings), Measure(settings))


def opened(settings: Settings) -> Pieces:
    """Where its pieces would lie."""
    return query.opened(settings, open_source(settings), Measure(settings))


def partition(
    spark: Any, settings: Settings, place: Path, hour: int, earlier: Table | None = None, events: str = "events"
) -> Table:
    """The events room's partition of an hour, from the pieces or from the landing folder itself."""
    kinds = {"kinds": arrivals.KINDS, "grain": "hour", "horizon": "1h", "events": events}
    return make(spark, place, arrivals.source(settings.base, **kinds), at(hour), earlier)


def at(hour: int) -> Asof:
    return Asof.of_period(Asof.parse("2024-01-01T00", HOUR).period + hour, HOUR)


def a_day(seed: int, hours: int) -> list[list[dict[str, Any]]]:
    """The rows of a day by the hour in which they arrive: late ones, copies, broken ones among them."""
    rows = [row for row in arrivals.log(seed, 1, 10 * hours) if row["event_time"]]
    for row in rows:
        late, row["event_time"] = (
            row["ingested_at"] - row["event_time"],
            START + (row["event_time"] - START) * hours / 24,
        )
        row["ingested_at"] = row["event_time"] + (late / 36 if late > timedelta() else late)  # by two hours at most
    arrived = [max(int((row["ingested_at"] - START) / HOUR), 0) for row in rows]
    return [[row for row, hour in zip(rows, arrived, strict=True) if hour == each] for each in range(hours)]


def killed(
    spark: Any, settings: Settings, monkeypatch: pytest.MonkeyPatch, place: Any, name: str, taking: Any = take
) -> None:
    """Take the feed; a kill comes when a function has done its work."""
    real = getattr(place, name)

    def kill(*given: Any, **more: Any) -> None:
        real(*given, **more)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(place, name, kill)
        with pytest.raises(Killed):
            taking(spark, settings)
