"""The channel of items that are new: who gets an item that nobody had yet, and what is eligible before its first event."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from features.lookup import Pairs
from features.pair import FEATURES
from narrows.columns import REASON
from narrows.stage import Shard
from stages.recall import Recall, new_items
from stages.recall.channels.new_items import NewItems
from stages.recall.model import fit, narrow
from stages.recall.query import Query
from tests.recall.tiny import ASOF, SMALL, WEEK, events, random_rows, shard
from tests.test_profiles import WEEK as SCALE

ROWS = [("u1", "i1", 3), ("u1", "i11", 4), ("u2", "i2", 3), ("u2", "i12", 4), ("u3", "i16", 1), ("u3", "i2", 1)]
NOBODY = ["i21", "i22", "i31"]
"""Of categories c1, c2 and c1, and subcategories s1, s2 and s1."""


def opened(rows=ROWS, days: dict[str, float] | None = None, more: list[str] = NOBODY) -> Shard:
    """The rows' items and some that nobody had; ``days`` since some became available."""
    known = shard(rows, items=sorted({i for _, i, _ in rows} | set(more)))
    since = [(days or {}).get(item) for item in known.items["item_id"].to_pylist()]
    return replace(known, items=known.items.append_column("days_since_available", pa.array(since, pa.float32())))


def proposed(known: Shard, n: int = 9, **settings) -> dict[str, list[str]]:
    """Each user's items, best first."""
    made = NewItems(**settings).propose(Query(known.users, known.items), n)
    users, ids = known.users["user_id"].to_pylist(), known.items["item_id"].to_pylist()
    assert (made.user.dtype, made.item.dtype, made.score.dtype) == (np.int32, np.int32, np.float32)
    return {
        user: [ids[i] for u, i in zip(made.user, made.item, strict=True) if u == row] for row, user in enumerate(users)
    }


def test_an_item_without_an_event_goes_to_those_who_like_its_kind():
    known = opened(days={"i21": 2.0, "i22": 1.0})
    assert proposed(known, 1) == {"u1": ["i21"], "u2": ["i22"], "u3": ["i22"]}
    assert proposed(known)["u1"] == ["i21", "i22"]


def test_an_item_is_new_for_so_long_and_what_the_user_had_is_not_proposed():
    days = {"i21": 14.0, "i22": 14.1, "i16": 5.0, "i31": None}
    assert proposed(opened(days=days)) == {"u1": ["i16", "i21"], "u2": ["i16", "i21"], "u3": ["i21"]}
    assert set(proposed(opened(days=days), within=3.0)["u3"]) == {"i21", "i22"}
    assert proposed(opened(days=days), 0)["u1"] == []


def test_of_two_that_are_alike_the_newest_is_first_and_users_count():
    assert proposed(opened(days={"i21": 3.0, "i31": 2.0}))["u1"] == ["i31", "i21"]
    assert proposed(opened([*ROWS, ("u2", "i21", 2)], days={"i21": 3.0, "i31": 2.0}))["u1"] == ["i21", "i31"]


def test_the_score_is_users_times_the_smoothed_lift_of_category_and_subcategory(monkeypatch):
    """Against plain arithmetic; in blocks of one user the same."""
    known = opened(random_rows(), {f"i{n}": 1.0 + n / 10 for n in (3, 8, 13, 61, 62)}, ["i61", "i62"])
    query = Query(known.users, known.items)
    made = NewItems().propose(query, 50)
    items, users = known.items.to_pylist(), known.users.to_pylist()
    for user, item, score in list(zip(made.user, made.item, made.score, strict=True))[::7]:
        lift = 1.0
        for level in ("category", "subcategory"):
            kinds = {each[level] for each in items}
            taken = {kind: 1 + sum(each["users_16x"] for each in items if each[level] == kind) for kind in kinds}
            visits = dict(zip(users[user][f"{level}_name"], users[user][f"{level}_decayed_16x"], strict=True))
            kind = items[item][level]
            share = taken[kind] / sum(taken.values())
            lift = (visits.get(kind, 0.0) / share + 10 * lift) / (sum(visits.values()) + 10)
        assert score == pytest.approx((1 + items[item]["users_1x"]) * lift, rel=1e-5)
    monkeypatch.setattr(new_items, "BLOCK", 1)
    again = NewItems().propose(query, 50)
    assert all(np.array_equal(getattr(made, part), getattr(again, part)) for part in ("user", "item", "score"))


def test_items_and_users_without_a_kind_are_no_error():
    known = opened(days={"i21": 2.0, "i22": 1.0})
    items = known.items
    for level in ("category", "subcategory"):
        nothing = pa.nulls(items.num_rows, pa.string())
        items = items.set_column(items.column_names.index(level), level, nothing)
    assert proposed(replace(known, items=items))["u1"] == ["i22", "i21"], "the newest first"
    stranger = shard(ROWS, users=["u9"])
    assert proposed(replace(known, users=stranger.users)) == {"u9": ["i22", "i21"]}


def room_of(known: Shard, rows) -> pa.Table:
    room = Recall(channels=SMALL)
    model = fit(room, events(rows), known.users, known.items, ASOF, WEEK, SCALE.visit)
    return narrow(room, model, known)


def test_it_becomes_a_candidate_with_its_reason_unless_it_is_too_long_that_it_is_available():
    rows = random_rows()
    made = room_of(opened(rows, {"i61": 1.0, "i62": 60.0}, ["i61", "i62"]), rows)
    kept = made.kept.to_pylist()
    mine = [row for row in kept if row["item_id"] == "i61"]
    assert mine
    assert {row["recall_reason"] for row in mine} == {"new_item"}
    assert "i62" not in {row["item_id"] for row in kept}
    shown = opened(rows, {"i61": 60.0}, ["i61"])
    room = Recall(channels=SMALL | {"new_items": {"within": 20.0}})
    model = fit(room, events(rows), shown.users, shown.items, ASOF, WEEK, SCALE.visit)
    removed = [row for row in narrow(room, model, shown).removed.to_pylist() if row["item_id"] == "i61"]
    assert {row[REASON] for row in removed} == {"not_eligible"}


def test_where_no_day_is_known_the_candidates_are_what_they_are_without_the_column():
    rows = random_rows()
    unknown = opened(rows, {}, ["i61"])
    without = replace(unknown, items=unknown.items.drop_columns("days_since_available"))
    one, other = room_of(unknown, rows), room_of(without, rows)
    assert one.kept.equals(other.kept)
    assert one.removed.equals(other.removed)
    assert one.kept["new_items_rank"].null_count == one.kept.num_rows


def test_days_since_it_is_available_are_a_feature_and_unknown_in_other_profiles():
    known = opened(days={"i21": 2.0})
    asked = pa.table({"user_id": ["u1", "u1"], "item_id": ["i21", "i1"]})
    for items, expected in (
        (known.items, [2.0, np.nan]),
        (known.items.drop_columns("days_since_available"), [np.nan] * 2),
    ):
        days = FEATURES["item_available_days"](Pairs(known.users, items, asked))
        np.testing.assert_array_equal(days, np.array(expected, np.float32))
