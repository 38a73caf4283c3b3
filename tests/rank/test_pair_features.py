"""Pair features against their definitions, on a history small enough to count by hand."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from features.ladder import STEPS
from features.lookup import Pairs, locate, locate_in_groups
from features.pair import FEATURES, matrix
from features.pair.item import PLACED
from features.registry import OF_ITEM
from features.sequence import pad
from stages.rank.inputs import Encoder
from tests.recall.tiny import shard

# u1 shops on days 0, 7, 14, 21 ago; i1 on 0, 14, 21; i11 (same category, subcategory) on 7
ROWS = [("u1", "i1", 0), ("u1", "i1", 14), ("u1", "i1", 21), ("u1", "i11", 7), ("u2", "i2", 3), ("u3", "i1", 1)]


ORDER = [
    "history_count", "history_last_days", "history_first_days", "history_decayed_16x", "history_decayed_4x",
    "history_decayed_1x", "history_last_visits", "history_share", "history_place", "history_gap_days", "history_due",
    "history_gap_visits", "history_due_visits", "history_visit_share", "history_previous_due", "history_value",
    "category_decayed_16x", "category_decayed_1x", "category_visit_share", "subcategory_decayed_16x",
    "subcategory_decayed_1x", "subcategory_visit_share",
    "subcategory_due", "subcategory_due_visits", "subcategory_since_item",
    *(f"item_users_{step}" for step in STEPS), *(f"item_place_{step}" for step in PLACED), *(f"item_trend_{step}" for step in list(STEPS)[:-1]),
    "item_expected", "item_place_expected", "item_available_days", "item_first_days", "item_last_days", "item_repeat_share", "item_gap_days",
    "item_visits_per_user", "item_due", "item_price", "item_price_ratio", "category_trend", "subcategory_trend",
    "subcategory_popularity_share", "context_users_4x", "context_users_4th", "user_events_4x", "user_events_1x", "user_events", "user_visits",
    "user_last_days", "user_variety", "viewed_count", "viewed_last_days", "viewed_since_taken", "item_viewers",
    "item_viewers_long", "item_to_item_score", "ease_score", "two_tower_score",
]  # fmt: skip


@pytest.fixture(scope="module")
def pairs() -> Pairs:
    asked = shard(ROWS)
    return Pairs(asked.users, asked.items, pa.table({"user_id": ["u1", "u1", "u1"], "item_id": ["i1", "i11", "i2"]}))


@pytest.mark.parametrize(
    ("name", "values"),
    {
        "history_count": [3, 1, np.nan],
        "history_last_days": [0.5, 7.5, np.nan],
        "history_first_days": [21.5, 7.5, np.nan],
        "history_decayed_16x": [1 + 0.5 ** (14 / 112) + 0.5 ** (21 / 112), 0.5 ** (7 / 112), np.nan],
        "history_gap_days": [10.5, np.nan, np.nan],
        "history_due": [0.5 / 10.5, np.nan, np.nan],
        "history_last_visits": [0, 1, np.nan],
        "history_gap_visits": [1.5, np.nan, np.nan],
        "history_due_visits": [1 / 1.5, np.nan, np.nan],
        "history_visit_share": [3 / 4, 1 / 2, np.nan],
        "history_previous_due": [0.5 / 14, np.nan, np.nan],
        "history_place": [0, 1, np.nan],
        "subcategory_since_item": [0, 7, np.nan],
        "subcategory_visit_share": [1, 1, np.nan],
        "item_users_4x": [2, 1, 1],
        "item_repeat_share": [0.5, 0, 0],
        "item_place_4x": [1, 2, 2],
        "item_place_64th": [np.nan] * 3,
        "subcategory_popularity_share": [2 / 3, 1 / 3, 1],
        "context_users_4x": [2, 1, 0],
        "user_variety": [0.5, 0.5, 0.5],
        "two_tower_score": [np.nan] * 3,
    }.items(),
)
def test_a_feature_is_what_its_docstring_says(pairs, name, values):
    np.testing.assert_allclose(FEATURES[name](pairs), np.array(values, np.float32), rtol=1e-5)


def test_every_feature_is_float32_and_defined(pairs):
    for name, feature in FEATURES.items():
        value = feature(pairs)
        assert value.dtype == np.float32, name
        assert value.shape == (3,), name
        assert (feature.__doc__ or "").strip().endswith("."), name
    assert matrix(pairs, ("item_trend_1x", "history_count")).shape == (3, 2)


def test_a_matrix_holds_the_features_also_those_that_are_made_once_for_each_item(pairs):
    names = tuple(reversed(FEATURES))
    single = np.stack([FEATURES[name](pairs) for name in names], 1)
    np.testing.assert_array_equal(matrix(pairs, names), single)
    assert {"item_users_1x", "category_trend"} < OF_ITEM < set(FEATURES)


def test_scaling_an_items_columns_once_gives_what_scaling_every_pair_gives(pairs):
    columns = ("history_count", "item_users_4x", "user_events", "item_gap_days")
    dense = matrix(pairs, columns)
    encoder = Encoder.fit(pairs.catalogue, pa.array(["i1"]), columns, dense, length=3, min_count=1, horizon=7.0)
    assert encoder.missing.tolist() == [0, 3]
    np.testing.assert_array_equal(encoder.dense(pairs), encoder.scale(dense))


def test_the_features_stand_in_the_order_that_the_models_sample_their_columns_in():
    assert list(FEATURES) == ORDER


def test_a_slice_of_the_users_has_the_same_features(pairs):
    asked = shard(ROWS)
    alone = Pairs(asked.users.slice(0, 1), asked.items, pa.table({"user_id": ["u1"], "item_id": ["i1"]}))
    np.testing.assert_array_equal(matrix(alone, tuple(FEATURES))[0], matrix(pairs, tuple(FEATURES))[0])


def test_locate_finds_places_and_minus_one():
    place = locate(
        np.array([0, 2]), np.array([2, 3]), np.array([4, 1, 4]), np.array([0, 3, 5]), np.array([1, 2, 4, 4, -1]), 5
    )
    assert place.tolist() == [1, -1, 0, 2, -1]


def test_places_in_groups_are_those_in_each_querys_own_group():
    starts, entries = np.array([0, 2, 2, 3]), np.array([4, 1, 4])
    place = locate_in_groups(starts, entries, np.array([2, -1, 0, 1, 0, 2]), np.array([4, 4, 1, 4, 3, 1]), 5)
    assert place.tolist() == [2, -1, 1, -1, -1, -1]


def test_pad_keeps_the_latest():
    values = pad(np.array([1, 2, 3, 4], np.float32), np.array([0, 3, 4]), np.array([3, 4, 4]), 2, -1)
    assert values.tolist() == [[2, 3], [-1, 4], [-1, -1]]
