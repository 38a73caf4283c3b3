"""Time: a partition knows what had happened and arrived by its end, and nothing of what comes after."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from narrows.asof import DAY, Asof
from narrows.stage import Table
from stages.item_profiles import ItemProfiles
from stages.user_profiles import UserProfiles
from tests import random_events as world

ASOF = Asof.parse("2024-03-20")
END = datetime(2024, 3, 21, tzinfo=UTC)
HOUR, WEEK = timedelta(hours=1), timedelta(days=7)


def profiles(
    spark, folder: Path, rows: list[dict[str, Any]], published: Asof, asofs: Iterable[Asof]
) -> dict[Any, pa.Table]:
    """All profile tables as of some days, by room and day, out of the events published as of ``published``."""
    asofs = list(asofs)
    events, items, users = world.published(spark, folder, world.source(folder, rows), published)
    events = dataclasses.replace(events, asof=max(asofs))
    tables = {}
    for room in (UserProfiles(), ItemProfiles()):
        room.transform(events, items, users, session=spark, asofs=asofs, horizon=WEEK, visit=DAY).save(
            folder / room.name
        )
        for asof in asofs:
            (folder / room.name / str(asof)).mkdir()
            (folder / room.name / f"asof={asof}").rename(folder / room.name / str(asof) / "data")
            tables[room.name, asof] = Table(room.name, asof, "v", folder / room.name / str(asof), {}).arrow()
    return tables


def future(rows: list[dict[str, Any]], seed: int) -> list[dict[str, Any]]:
    """The same past with another future: what is not known by the end of ASOF is deleted, altered or added."""
    rng = random.Random(seed)
    known = [e for e in rows if e["event_time"] < END and e["ingested_at"] < END]
    later = [e for e in rows if e not in known and rng.random() < 0.5]
    altered = [
        {**e, "value": 99.0, "price": 1e6, "context": "elsewhere", "item_id": f"i{rng.randrange(40)}"} for e in later
    ]
    blank = dict.fromkeys(("value", "price", "context", "session_id"))
    added = [
        # at the first instant after the as-of, of a known user and of strangers
        {**blank, "user_id": f"u{n}", "item_id": f"i{n}", "event_time": END, "ingested_at": END}
        for n in range(0, 60, 3)
    ] + [
        # late rows: they happened long before the as-of, and arrive at its end or later
        {
            **blank,
            "user_id": f"u{n % 20}",
            "item_id": f"i{n % 35}",
            "event_time": END - n * HOUR,
            "ingested_at": END + n * HOUR,
        }
        for n in range(1, 200)
    ]
    # a second copy of a known event, changed, that arrives after the as-of
    copies = [{**e, "value": 50.0, "ingested_at": END + HOUR} for e in known[:40]]
    changed = known + altered + added + copies
    rng.shuffle(changed)
    return changed


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return world.events(11)


@pytest.fixture(scope="module")
def base(spark, rows, tmp_path_factory) -> dict[Any, pa.Table]:
    return profiles(spark, tmp_path_factory.mktemp("base"), rows, ASOF, [ASOF])


@pytest.mark.parametrize("published", [ASOF, ASOF + timedelta(days=30)])
def test_another_future_leaves_every_profile_row_unchanged(spark, rows, base, tmp_path, published):
    """Whether the events were published as of the day itself or long after: a late row counts from its arrival."""
    changed = profiles(spark, tmp_path, future(rows, 1), published, [ASOF])
    assert changed.keys() == base.keys()
    for key, table in base.items():
        assert changed[key].equals(table), key


def test_another_past_does_change_them(spark, rows, base, tmp_path):
    """The proof that the comparison can fail: one known event less."""
    known = next(e for e in rows if e["event_time"] < END and e["ingested_at"] < END)
    changed = profiles(spark, tmp_path, [e for e in rows if e is not known], ASOF, [ASOF])
    assert not any(changed[key].equals(table) for key, table in base.items())


def test_a_range_of_asofs_in_one_job_is_day_by_day(spark, rows, base, tmp_path):
    days = [ASOF - timedelta(days=21), ASOF - timedelta(days=1), ASOF]
    ranged = profiles(spark, tmp_path / "range", rows, ASOF + timedelta(days=40), days)
    for key, table in base.items():
        assert ranged[key].equals(table), key
    for number, day in enumerate(days[:2]):
        for key, table in profiles(spark, tmp_path / str(number), rows, day, [day]).items():
            assert ranged[key].equals(table), key


def test_rows_do_not_depend_on_the_number_of_partitions(spark, rows, base, tmp_path):
    spark.conf.set("spark.sql.shuffle.partitions", 5)
    try:
        for key, table in profiles(spark, tmp_path, rows, ASOF, [ASOF]).items():
            assert table.equals(base[key]), key
    finally:
        spark.conf.set("spark.sql.shuffle.partitions", 2)
