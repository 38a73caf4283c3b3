"""The channel of what the user looked at, and the pair features of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa

from features.lookup import Pairs
from features.pair import FEATURES
from narrows.stage import Shard
from stages.recall.channels.viewed import Viewed
from stages.recall.merge import merge
from stages.recall.query import Query
from tests.recall.tiny import shard

ROWS = [("u1", "i1", 5), ("u1", "i2", 1), ("u2", "i3", 4)]


def looked() -> Shard:
    """u1 looked at i1 (since it was taken), i2 (before), i4 and an item that is gone; nobody took i4."""
    known = shard(ROWS, items=["i1", "i2", "i3", "i4"])
    lists = {
        "viewed_item": pa.array([["gone", "i4", "i1", "i2"], []], pa.list_(pa.string())),
        "viewed_count": pa.array([[9, 3, 1, 2], []], pa.list_(pa.int32())),
        "viewed_last_days": pa.array([[0.1, 1.0, 3.0, 7.0], []], pa.list_(pa.float32())),
    }
    users, items = known.users, known.items
    for name, values in lists.items():
        users = users.append_column(name, values)
    for name, values in (("viewers", [1, 1, 0, 2]), ("viewers_long", [2, 1, 0, 2])):
        items = items.append_column(name, pa.array(values, pa.int32()))
    return replace(known, users=users, items=items.append_column("days_since_last_view", pa.array([3.0, 7, None, 1])))


def test_what_was_not_taken_since_is_proposed_the_latest_first():
    known = looked()
    proposals = Viewed().propose(Query(known.users, known.items), 5)
    assert proposals.user.tolist() == [0, 0]
    assert [known.items["item_id"][int(i)].as_py() for i in proposals.item] == ["i4", "i1"]
    np.testing.assert_allclose(proposals.score, [0.5, 0.25])
    assert len(Viewed().propose(Query(known.users, known.items), 1).item) == 1


def test_an_item_that_was_looked_at_and_never_taken_is_eligible():
    known = looked()
    query = Query(known.users, known.items)
    proposals = {"viewed": Viewed().propose(query, 5)}
    for again, kept in ((True, ["i4", "i1"]), (False, ["i4"])):
        narrowed = merge(query, {"viewed": Viewed()}, proposals, {"viewed": 20}, 10, 60, 365, again)
        assert narrowed.kept["item_id"].to_pylist() == kept
        assert set(narrowed.kept["recall_reason"].to_pylist()) == {"because_viewed"}


def test_without_context_events_nothing_is_proposed_and_no_feature_is_known():
    for known in (shard(ROWS), replace(looked(), users=shard(ROWS).users)):
        assert len(Viewed().propose(Query(known.users, known.items), 5).item) == 0
    known = shard(ROWS)
    pairs = Pairs(known.users, known.items, pa.table({"user_id": ["u1"], "item_id": ["i1"]}))
    assert all(np.isnan(FEATURES[name](pairs)).all() for name in ("viewed_count", "viewed_since_taken", "item_viewers"))


def test_the_features_of_a_pair():
    known = looked()
    pairs = Pairs(known.users, known.items, pa.table({"user_id": ["u1", "u1", "u2"], "item_id": ["i1", "i4", "i1"]}))
    wanted = {
        "viewed_count": [1, 3, np.nan], "viewed_last_days": [3, 1, np.nan], "viewed_since_taken": [2.5, np.nan, np.nan],
        "item_viewers": [1, 2, 1], "item_viewers_long": [2, 2, 2],
    }  # fmt: skip
    for name, values in wanted.items():
        np.testing.assert_allclose(FEATURES[name](pairs), np.array(values, np.float32))
