"""Each as-of knows what somebody knew then: the rows that had arrived, as plain Python reads them, whatever came later."""

from __future__ import annotations

import random
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from narrows.asof import Asof
from narrows.columns import EVENT_KEY
from narrows.run import reads
from narrows.run.runner import Runner
from narrows.settings import load_settings
from narrows.stage import Table
from stages.user_profiles import UserProfiles
from tests import plain_profiles
from tests.arrivals import START, arrived, drop, make, source
from tests.test_backfill import SETTINGS
from tests.test_profiles import LENGTHS, ROOM, same, saved

YEAR = 365
EVERY_DAY, STEP = 30, 5
"""So many days each have a partition of their own, then every so-manieth."""
Row = dict[str, Any]


def a_year(seed: int = 1) -> list[Row]:
    """Three events a day, 2 % of them late by up to three days, and 2 % told twice, the second time with another price."""
    rng, rows = random.Random(seed), []
    for number in range(3 * YEAR):
        at = START + timedelta(days=number // 3, hours=rng.randrange(24), minutes=number % 3)
        row = {
            "user_id": f"u{rng.randrange(5)}", "item_id": f"i{rng.randrange(9)}", "event_time": at,
            "ingested_at": at + timedelta(hours=rng.randrange(1, 72) if rng.random() < 0.02 else 0), "event_type": "event",
            "value": "1", "price": 2.0, "context": rng.choice(["north", None]), "session_id": None, "number": number,
        }  # fmt: skip
        rows.append(row)
        if rng.random() < 0.02:
            rows.append(row | {"ingested_at": row["ingested_at"] + timedelta(hours=rng.randrange(1, 72)), "price": 3.0})
    return rows


def asof(day: int) -> Asof:
    return Asof.parse(f"{START + timedelta(days=day):%Y-%m-%d}")


def observed(rows: list[Row], at: Asof) -> list[Row]:
    """What had happened and arrived, of copies the one that arrived first."""
    first: dict[Any, Row] = {}
    for row in sorted(rows, key=lambda row: (row["ingested_at"], row["price"])):
        if row["ingested_at"] < at.end and row["event_time"] < at.end:
            first.setdefault(tuple(row[name] for name in EVENT_KEY), row | {"value": float(row["value"])})
    return [*first.values()]


def key(row: Row) -> tuple[str, ...]:
    return tuple(str(row[name]) for name in (*EVENT_KEY, "ingested_at", "price", "value", "context"))


def is_observed(events: Table, rows: list[Row], at: Asof) -> None:
    wanted = observed(rows, at)
    assert sorted(map(key, events.known_at(at).arrow().to_pylist())) == sorted(map(key, wanted)), at
    if events.asof == at:
        assert events.notes["events"] == len(wanted)
        assert events.notes["late"] == sum(row["ingested_at"].date() > row["event_time"].date() for row in wanted)


def profiles_are_observed(events: Table, rows: list[Row], days: list[int], place: Path) -> None:
    asofs = [asof(day) for day in days]
    room = UserProfiles(**{f"{name}_length": length for name, length in LENGTHS.items()})
    few = Table("events", events.asof, "v", events._folder, {**events.meta, "rows": 3 * YEAR})
    room.transform(few, few.side("items"), few.side("users"), session=None, asofs=asofs, **ROOM).save(place)
    for at in asofs:
        made = Table("user_profiles", at, "v", saved(place, at), {}).arrow().to_pylist()
        same(made, plain_profiles.user_profiles(observed(rows, at), [], [], at.day, LENGTHS))


def test_a_year_as_of_its_days_is_what_had_arrived(spark, tmp_path):
    """Of the partition of the year's last day, as every earlier day reads it, and of one that went on from a day in between."""
    rows = a_year()
    drop(tmp_path, "all", rows)
    whole = make(spark, tmp_path / "whole", source(tmp_path, kinds={}), asof(YEAR))
    for day in range(0, YEAR + 1, 5):
        is_observed(whole, rows, asof(day))
    middle = make(spark, tmp_path / "middle", source(tmp_path, kinds={}), asof(200))
    later = make(spark, tmp_path / "later", source(tmp_path, kinds={}), asof(203), middle)
    is_observed(middle, rows, asof(200))
    is_observed(later, rows, asof(203))
    profiles_are_observed(whole, rows, [30, 99, 100, 101, 250, YEAR], tmp_path / "profiles")


@pytest.mark.slow
def test_every_day_of_a_year_of_arriving_files_is_what_had_arrived(spark, tmp_path):
    """Each of the first days goes on from the one before; later every fifth does, and is read as of the days between too."""
    rows, before, seen = a_year(2), None, 0
    for day in range(YEAR):
        drop(tmp_path, f"{day:03d}", [row for row in rows if arrived(row) == day])
        if day >= EVERY_DAY and day % STEP != STEP - 1:
            continue
        before = make(spark, tmp_path / f"{day:03d}", source(tmp_path, kinds={}), asof(day), before)
        for each in range(seen, day + 1):
            is_observed(before, rows, asof(each))
        seen = day + 1
        if day % 40 == 39:
            profiles_are_observed(before, rows, [day], tmp_path / f"profiles{day}")
    assert seen == YEAR


def test_a_late_row_is_of_the_partition_of_its_arrival_and_changes_no_past_one(spark, tmp_path):
    """A return and a purchase that arrive two days late, through the runner and its store."""
    at = START + timedelta(hours=9)
    base = dict.fromkeys(("value", "price", "context", "session_id"))
    bought = {
        **base,
        "user_id": "u1",
        "item_id": "i1",
        "event_time": at,
        "ingested_at": at,
        "event_type": "purchase",
        "number": 0,
    }
    drop(tmp_path, "0", [bought, bought | {"user_id": "u2", "item_id": "i2"}])
    drop(
        tmp_path,
        "1",
        [
            bought | {"item_id": f"i{n}", "event_time": at + timedelta(days=n), "ingested_at": at + timedelta(days=n)}
            for n in (1, 2)
        ],
    )
    kinds = '[source.kinds]\npositive = ["purchase"]\nundo = ["return"]\n'
    (tmp_path / "narrows.toml").write_text(SETTINGS + kinds)

    def run(day: int) -> tuple[Table, dict[str, list[str]], Runner]:
        runner = Runner(load_settings(tmp_path / "narrows.toml"))
        events = runner.tables("events", [asof(day)])[asof(day)]
        users = runner.tables("user_profiles", [asof(day)])[asof(day)].arrow(["user_id", "history_item"]).to_pylist()
        return events, {row["user_id"]: sorted(row["history_item"]) for row in users}, runner

    first, seen, _ = run(1)
    assert (seen["u1"], first.notes["late"]) == (["i1"], 0)
    assert sorted(first.arrow()["item_id"].to_pylist()) == ["i1", "i1", "i2"]
    late = at + timedelta(days=2)
    drop(tmp_path, "2", [
        bought | {"item_id": "i7", "ingested_at": late}, bought | {"user_id": "u2", "item_id": "i2", "ingested_at": late, "event_type": "return"},
    ])  # fmt: skip
    second, now, runner = run(2)
    assert second.notes["late"] == 2
    assert {row["item_id"] for row in second.arrow().to_pylist() if row["known"] == "2024-01-03"} == {"i2", "i7"}
    assert now == {"u1": ["i1", "i2", "i7"], "u2": []}
    past = reads.past(runner, runner.room("examples"), "user_profiles", asof(2), recent=False)
    assert {str(day): table.version for day, table in past.items()} == {
        "2024-01-02": runner.store.partitions("user_profiles")
        and runner.store.current("user_profiles", asof(1)).version
    }
    assert {row["user_id"]: sorted(row["history_item"]) for row in past.arrow().to_pylist()} == seen
    assert sorted(second.known_at(asof(1)).arrow().to_pylist(), key=str) == sorted(first.arrow().to_pylist(), key=str)
