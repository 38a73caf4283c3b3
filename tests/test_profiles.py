"""Profiles: the fast kernels against plain Python, over a random world with ties, late rows, nulls and strangers."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import polars as pl
import pytest

from narrows.asof import Asof
from narrows.engine.histories import SIDE, Scale, coded, complete, joined_with, plain
from narrows.stage import Table
from stages.item_profiles import ItemProfiles
from stages.item_profiles import profile as item_room
from stages.user_profiles import UserProfiles
from stages.user_profiles import profile as user_room
from tests import plain_profiles
from tests import random_events as world

ASOFS = [Asof.parse("2024-02-01") + timedelta(days=n) for n in (0, 9, 40, 85, 117)]
WEEK = Scale(timedelta(days=7), timedelta(days=1))
ROOM = {"horizon": WEEK.horizon, "visit": WEEK.visit}
LENGTHS = {"history": 6, "kinds": 4, "sequence": 15, "visits": 10}


def rows_of(events: list[dict[str, Any]], key: str) -> pl.DataFrame:
    """What ``each_asof`` gives a kernel: events and side rows, joined with the other side table."""
    seen = pl.from_arrow(world.table(events)).with_columns(
        second=pl.col("event_time").dt.epoch("us") / 1e6, known=pl.max_horizontal("event_time", "ingested_at").dt.epoch("d").cast(pl.Int64),
        session_id=pl.col("session_id").fill_null(pl.col("event_time").dt.date().cast(pl.String)),
    ).drop("event_time", "ingested_at")  # fmt: skip
    items, users = world.table(world.items()), world.table(world.users())
    if key == "user_id":
        own, sides = users, {"item_id": items.select(["item_id", "category", "subcategory", "brand"])}
    else:
        own, sides = items, {"user_id": users}
    nobody_knows = pl.from_arrow(own).with_columns(known=pl.lit(None, pl.Int64))
    if key == "item_id":
        nobody_knows = nobody_knows.with_columns(pl.col("available_at").dt.epoch("us") / 1e6)
    rows = pl.concat([seen, nobody_knows], how="diagonal").sample(fraction=1.0, shuffle=True, seed=1)
    return coded(joined_with(rows, sides, WEEK))


def known(item: dict[str, Any], asof: Asof) -> bool:
    return item["available_at"] is None or item["available_at"] < asof.end


def same(rows: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> None:
    assert len(rows) == len(wanted)
    for got, want in zip(rows, wanted, strict=True):
        assert got.keys() - {"expected_demand"} == want.keys(), "the forecast has a test of its own: test_demand.py"
        for name, value in want.items():
            values = zip(got[name], value, strict=True) if isinstance(value, list) else [(got[name], value)]
            for a, b in values:
                close = isinstance(b, float) and a is not None and math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-6)
                assert a == b or close, (want.get("user_id") or want["item_id"], name, got[name], value)


@pytest.mark.parametrize("seed", range(3))
def test_user_profiles_are_what_plain_python_says(seed):
    events = world.events(seed)
    room = UserProfiles(**{f"{name}_length": length for name, length in LENGTHS.items()})
    for asof, result in zip(ASOFS, user_room.profiles(rows_of(events, "user_id"), ASOFS, room, WEEK), strict=True):
        same(result.to_dicts(), plain_profiles.user_profiles(events, world.items(), world.users(), asof.day, LENGTHS))


@pytest.mark.parametrize("seed", range(3))
def test_item_profiles_are_what_plain_python_says(seed):
    events = world.events(seed)
    for asof, result in zip(ASOFS, item_room.profiles(rows_of(events, "item_id"), ASOFS, WEEK), strict=True):
        counted = result.drop("expected_demand").to_dicts()  # a forecast: see test_demand.py
        same(counted, plain_profiles.item_profiles(events, world.items(), world.users(), asof.day))


def test_without_late_rows_the_short_way_is_the_same():
    events = [{**e, "ingested_at": e["event_time"]} for e in world.events(5)]
    room = UserProfiles(**{f"{name}_length": length for name, length in LENGTHS.items()})
    result = next(user_room.profiles(rows_of(events, "user_id"), ASOFS[2:], room, WEEK))
    same(result.to_dicts(), plain_profiles.user_profiles(events, world.items(), world.users(), ASOFS[2].day, LENGTHS))


def test_within_a_reach_profiles_are_those_of_a_log_that_begins_there():
    """Whichever as-ofs are made together."""
    events, scale = world.events(6), replace(WEEK, reach=timedelta(days=21))
    room = UserProfiles(**{f"{name}_length": length for name, length in LENGTHS.items()})
    users = list(user_room.profiles(rows_of(events, "user_id"), ASOFS, room, scale))
    items = list(item_room.profiles(rows_of(events, "item_id"), ASOFS, scale))
    for asof, of_users, of_items in zip(ASOFS, users, items, strict=True):
        some = [e for e in events if e["event_time"] >= asof.end - scale.reach]
        same(of_users.to_dicts(), plain_profiles.user_profiles(some, world.items(), world.users(), asof.day, LENGTHS))
        counted = of_items.drop("expected_demand").to_dicts()
        same(counted, plain_profiles.item_profiles(some, world.items(), world.users(), asof.day))


def test_before_the_first_event_everybody_known_has_an_empty_row():
    asof = Asof.parse("2023-12-01")
    [users] = user_room.profiles(rows_of(world.events(1), "user_id"), [asof], UserProfiles(), WEEK)
    assert users["user_id"].to_list() == sorted(u["user_id"] for u in world.users())
    assert users["events"].to_list() == [0] * users.height
    assert users["history_item"].to_list() == [[]] * users.height
    [items] = item_room.profiles(rows_of(world.events(1), "item_id"), [asof], WEEK)
    assert items["item_id"].to_list() == sorted(i["item_id"] for i in world.items() if known(i, asof))
    assert items["days_since_last_event"].null_count() == items.height


def test_of_an_item_that_is_available_later_an_as_of_knows_nothing():
    """Whatever its day of the future is, the profiles are the same; an item that somebody had stays."""
    events, asof = world.events(2), ASOFS[1]
    rows = rows_of(events, "item_id")
    future = pl.col("available_at") >= asof.end.timestamp()
    assert rows.filter(future).height > 5
    [today] = item_room.profiles(rows, [asof], WEEK)
    [spoiled] = item_room.profiles(
        rows.with_columns(pl.when(future).then(9e9).otherwise("available_at").alias("available_at")), [asof], WEEK
    )
    assert today.equals(spoiled)
    had = {e["item_id"] for e in events if max(e["event_time"], e["ingested_at"]) < asof.end}
    later = {i["item_id"] for i in world.items() if not known(i, asof)}
    assert later & had
    assert later - had
    assert not set(today["item_id"]) & (later - had)
    assert today.filter(pl.col("item_id").is_in(later))["days_since_available"].null_count() == len(later & had)


def test_a_task_without_rows_makes_the_same_columns():
    full = rows_of(world.events(1), "user_id")
    users = partial(user_room.profiles, room=UserProfiles(), scale=WEEK)
    for kernel, rows in ((users, full), (partial(item_room.profiles, scale=WEEK), rows_of(world.events(1), "item_id"))):
        [some] = kernel(rows, ASOFS[:1])
        [none] = kernel(rows.clear(), ASOFS[:1])
        assert none.is_empty()
        assert plain(none.to_arrow()).schema == plain(some.to_arrow()).schema


def test_codes_keep_the_order_of_text_and_become_text_again():
    frame = coded(pl.DataFrame({"a": ["é", "z", "Z", None, "10", "9"]}))
    assert frame.sort("a", nulls_last=True)["a"].cast(pl.String).to_list() == ["10", "9", "Z", "z", "é", None]
    listed = complete(frame.select(pl.col("a").implode(), n=pl.lit(None, pl.Int32)))
    assert listed.schema == {"a": pl.List(pl.String), "n": pl.Int32}
    assert listed["n"].to_list() == [0]


def test_the_rooms_write_what_the_kernels_make(spark, tmp_path):
    """Through Spark, from the events room's own table: every row, with plain types."""
    events = world.events(3)
    asofs = ASOFS[1:4]
    tables = world.published(spark, tmp_path / "published", world.source(tmp_path, events), asofs[-1])
    room = UserProfiles(**{f"{name}_length": length for name, length in LENGTHS.items()})
    room.transform(*tables, session=spark, asofs=asofs, **ROOM).save(tmp_path / "users")
    ItemProfiles().transform(*tables, session=spark, asofs=asofs, **ROOM).save(tmp_path / "items")
    for asof in asofs:
        users = Table("user_profiles", asof, "v", saved(tmp_path / "users", asof), {}).arrow()
        same(
            users.sort_by("user_id").to_pylist(),
            plain_profiles.user_profiles(events, world.items(), world.users(), asof.day, LENGTHS),
        )
        items = Table("item_profiles", asof, "v", saved(tmp_path / "items", asof), {}).arrow()
        same(
            items.drop_columns("expected_demand").sort_by("item_id").to_pylist(),
            plain_profiles.item_profiles(events, world.items(), world.users(), asof.day),
        )
    kinds = {str(users.schema.field(name).type) for name in ("history_item", "segment", "history_count", "visit_days")}
    assert kinds == {"list<element: string>", "string", "list<element: int32>", "list<element: float>"}
    assert set(SIDE) <= set(items.column_names)


def test_without_side_tables_everybody_has_a_profile_of_events_alone(spark, tmp_path):
    events, asof = world.events(4), ASOFS[2]
    tables = world.published(spark, tmp_path / "published", world.source(tmp_path, events, sides=False), asof)
    UserProfiles(**{f"{name}_length": length for name, length in LENGTHS.items()}).transform(
        *tables, session=spark, asofs=[asof], **ROOM
    ).save(tmp_path / "users")
    ItemProfiles().transform(*tables, session=spark, asofs=[asof], **ROOM).save(tmp_path / "items")
    users = Table("user_profiles", asof, "v", saved(tmp_path / "users", asof), {}).arrow()
    same(users.sort_by("user_id").to_pylist(), plain_profiles.user_profiles(events, [], [], asof.day, LENGTHS))
    items = Table("item_profiles", asof, "v", saved(tmp_path / "items", asof), {}).arrow()
    counted = items.drop_columns("expected_demand").sort_by("item_id").to_pylist()
    same(counted, plain_profiles.item_profiles(events, [], [], asof.day))


def saved(folder, asof):
    """A table's folder as the store has it."""
    target = folder / str(asof)
    target.mkdir()
    return (folder / f"asof={asof}").rename(target / "data").parent
