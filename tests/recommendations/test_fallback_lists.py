"""The fallback lists: for everyone, by segment and by context."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from serving import ITEMS, USERS, of

from stages.recommendations import lists
from stages.recommendations.fallback import contexts_of_use, fallback_lists, lifts, parts_of


def test_fallback_is_popularity_overall_and_by_segment():
    made = fallback_lists(ITEMS, USERS, ITEMS["item_id"].combine_chunks(), "1x", "home", 3)
    assert of(made, "all") == ["i3", "i2", "i4"]  # 7 days, then 28
    assert of(made, "young") == ["i0", "i5", "i1"]  # the segment's 28 days, then 112
    assert of(made, "old") == ["i3", "i0"]
    assert made["score"].to_pylist() == pytest.approx([3 / 3, 3 / 3, 2 / 3, 1, 1, 2, 2, 0])  # old, then young
    assert made["rank"].to_pylist() == [1, 2, 3, 1, 2, 1, 2, 3]


def test_fallback_offers_only_what_the_policy_lets_pass():
    reasons = pa.table(
        {"item_id": ["i3", "i3", "i0", "i1"], "reason": ["policy:block", "policy:block", "popular", "x"]}
    )
    made = fallback_lists(ITEMS, USERS, lists.offered([reasons]), "1x", "home", 3)
    assert of(made, "all") == ["i1", "i0"]
    assert lists.blocked([reasons]) == {"i3"}


def test_fallback_without_segments():
    plain = ITEMS.select(["item_id", "users_1x", "users_4x"])
    made = fallback_lists(plain, USERS.select(["user_id"]), ITEMS["item_id"].combine_chunks(), "1x", "home", 2)
    assert made.select(["segment", "item_id"]).to_pylist() == [
        {"segment": "all", "item_id": "i3"},
        {"segment": "all", "item_id": "i2"},
    ]


def in_contexts(first: list[int], second: list[int], share: list[float] | None = None) -> pa.Table:
    """Items with users in the contexts ``app`` and ``web``, and the forecast."""
    size = len(first)
    columns: dict[str, Any] = {
        "item_id": [f"i{k}" for k in range(size)],
        "users_1x": [a + b for a, b in zip(first, second, strict=True)],
        "context_name": [["app", "web"]] * size,
        "context_users_1x": [list(pair) for pair in zip(first, second, strict=True)],
    }
    if share is not None:
        columns["expected_demand"] = pa.array(share, pa.float32())
    return pa.table(columns)


def test_a_lift_is_how_much_more_an_item_is_wanted_in_a_context_damped():
    items = in_contexts([90, 10], [10, 90])
    lift = lifts(items, pa.array(["app", "web"]))
    np.testing.assert_allclose(lift, [[115 / 150 * 2, 35 / 150 * 2], [35 / 150 * 2, 115 / 150 * 2]])


def test_the_lift_of_a_context_of_two_parts_is_the_product_of_theirs():
    names = ["app|north", "app|south", "web|north", "web|south"]
    items = pa.table({
        "item_id": ["i0", "i1"], "context_name": [names, names],
        "context_users_1x": [[400, 100, 100, 0], [100, 100, 100, 300]],
    })  # fmt: skip
    device, region = (in_contexts(*users) for users in (([500, 200], [100, 400]), ([500, 200], [100, 400])))
    one, other = (lifts(each, pa.array(["app", "web"])) for each in (device, region))
    both = lifts(items, pa.array(names))
    np.testing.assert_allclose(both, [one[0] * other[0], one[0] * other[1], one[1] * other[0], one[1] * other[1]])


def test_items_without_contexts_have_no_lists_by_context():
    items = in_contexts([1, 2], [3, 4]).set_column(2, "context_name", pa.array([[], []], pa.list_(pa.string())))
    items = items.set_column(3, "context_users_1x", pa.array([[], []], pa.list_(pa.int64())))
    assert contexts_of_use(items, items, "1x", 50) == []
    assert lifts(items, pa.array([], pa.string())).shape == (0, 2)


def test_a_separator_that_not_all_contexts_have_is_none():
    assert [part.to_pylist() for part in parts_of(pa.array(["a|b", "c"]))] == [["a|b", "c"]]
    assert [part.to_pylist() for part in parts_of(pa.array(["a|b", "c|d"]))] == [["a", "c"], ["b", "d"]]
    assert [part.to_pylist() for part in parts_of(pa.array([], pa.string()))] == [[]]


def test_contexts_have_lists_of_their_own_where_these_were_worth_more_a_horizon_ago():
    before = in_contexts([900] * 20 + [10] * 20, [10] * 20 + [899] * 20)
    assert contexts_of_use(before, before, "1x", 50) == ["app", "web"]  # what was wanted in each then is wanted again
    assert contexts_of_use(before, before, "1x", 1) == []  # the larger one's list is everyone's
    assert contexts_of_use(before, before, "1x", 0) == []
    assert contexts_of_use(None, before, "1x", 50) == []
    turned = in_contexts([10] * 20 + [900] * 20, [899] * 20 + [10] * 20)  # and here the other way round
    assert contexts_of_use(before, turned, "1x", 50) == []
    plain = before.drop_columns(["context_name", "context_users_1x"])
    assert contexts_of_use(plain, plain, "1x", 50) == []


def test_everyones_order_is_by_the_forecast_and_the_step_together():
    """Each has a third that the other does not know of."""
    now = in_contexts([30, 0, 10, 20], [0] * 4, [0.0, 0.3, 0.5, 0.2])
    everything, nobody = now["item_id"].combine_chunks(), pa.table({"user_id": ["u"]})
    made = fallback_lists(now, nobody, everything, "1x", "home", 4, ["web"])
    assert of(made, "all") == ["i2", "i3", "i1", "i0"]
    wanted = [2 / 3 * 0.5 + 1 / 3 * 1 / 6, 2 / 3 * 0.2 + 1 / 3 * 1 / 3, 2 / 3 * 0.3, 1 / 3 * 1 / 2]
    assert made["score"].to_pylist()[:4] == pytest.approx(wanted)
    assert len(of(made, "context=web")) == 4
    allowed = fallback_lists(now, nobody, everything[:2], "1x", "home", 4)
    assert of(allowed, "all") == ["i1", "i0"]
    none = now.set_column(now.column_names.index("expected_demand"), "expected_demand", pa.nulls(4, pa.float32()))
    assert of(fallback_lists(none, nobody, everything, "1x", "home", 4), "all") == ["i0", "i3", "i2", "i1"]
