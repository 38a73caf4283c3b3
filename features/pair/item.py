"""What happened to the item, and to its category, subcategory and context."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from features.ladder import STEPS, words
from features.lookup import Array, Pairs
from features.pair.history import history_last_days
from features.registry import feature, item_feature

if TYPE_CHECKING:
    from features.registry import Feature


PLACED = ("64th", "16th", "4th", "1x", "4x")
"""Steps by which items are placed."""


def _users_within(step: str) -> Feature:
    def users(pairs: Pairs) -> Array:
        return pairs.of_item(f"users_{step}")

    users.__name__, users.__doc__ = f"item_users_{step}", f"Distinct users of the item in the last {words(step)}."
    return users


def _trend(step: str, longer: str) -> Feature:
    def trend(pairs: Pairs) -> Array:
        return pairs.of_item(f"users_{step}") / np.maximum(pairs.of_item(f"users_{longer}"), 1)

    trend.__name__, trend.__doc__ = f"item_trend_{step}", f"item_users_{step} / item_users_{longer}."
    return trend


def _place(step: str) -> Feature:
    def place(pairs: Pairs) -> Array:
        return pairs.catalogue.place(f"users_{step}")[pairs.item]

    place.__name__ = f"item_place_{step}"
    place.__doc__ = (
        f"The item's place by users of the last {words(step)}, 1 = most, which busy and quiet days have in common; "
        "NaN without any."
    )
    return place


for _step in STEPS:
    item_feature(_users_within(_step))
for _step in PLACED:
    item_feature(_place(_step))
for _step, _longer in pairwise(STEPS):
    item_feature(_trend(_step, _longer))


@item_feature
def item_expected(pairs: Pairs) -> Array:
    """The item's expected share of what is wanted in the coming horizon, a forecast; NaN where there is none."""
    if "expected_demand" not in pairs.items.column_names:  # profiles of another pipeline
        return np.full(len(pairs), np.nan, np.float32)
    return pairs.of_item("expected_demand")


@item_feature
def item_place_expected(pairs: Pairs) -> Array:
    """The item's place by that share, 1 = largest; NaN without one."""
    if "expected_demand" not in pairs.items.column_names:
        return np.full(len(pairs), np.nan, np.float32)
    return pairs.catalogue.place("expected_demand")[pairs.item]


@item_feature
def item_available_days(pairs: Pairs) -> Array:
    """Days since the item became available, also before its first event; NaN where that is not known."""
    if "days_since_available" not in pairs.items.column_names:  # profiles of another pipeline
        return np.full(len(pairs), np.nan, np.float32)
    return pairs.of_item("days_since_available")


@item_feature
def item_first_days(pairs: Pairs) -> Array:
    """Age of the item's first event: how long ago the item was new."""
    return pairs.of_item("days_since_first_event")


@item_feature
def item_last_days(pairs: Pairs) -> Array:
    """Age of the item's newest event."""
    return pairs.of_item("days_since_last_event")


@item_feature
def item_repeat_share(pairs: Pairs) -> Array:
    """Share of the item's users with two visits or more."""
    return pairs.of_item("repeat_share")


@item_feature
def item_gap_days(pairs: Pairs) -> Array:
    """Mean days between two visits of one user with the item."""
    return pairs.of_item("mean_gap_days")


@item_feature
def item_visits_per_user(pairs: Pairs) -> Array:
    """Mean visits with the item per user that had it."""
    return pairs.of_item("visits_per_user")


@feature
def item_due(pairs: Pairs) -> Array:
    """history_last_days / item_gap_days."""
    return history_last_days(pairs) / np.maximum(item_gap_days(pairs), 0.5)


@item_feature
def item_price(pairs: Pairs) -> Array:
    """Mean price of the item."""
    return pairs.of_item("price")


@item_feature
def item_price_ratio(pairs: Pairs) -> Array:
    """Mean price in the last horizon / mean price: below 1 = on offer."""
    return pairs.of_item("recent_price") / np.maximum(item_price(pairs), 0.01)


@item_feature
def category_trend(pairs: Pairs) -> Array:
    """Users in the last horizon / in the last 4, both summed over the items of the item's category."""
    return pairs.sum_by("category", "users_1x") / np.maximum(pairs.sum_by("category", "users_4x"), 1)


@item_feature
def subcategory_trend(pairs: Pairs) -> Array:
    """Users in the last horizon / in the last 4, both summed over the items of the item's subcategory."""
    return pairs.sum_by("subcategory", "users_1x") / np.maximum(pairs.sum_by("subcategory", "users_4x"), 1)


@item_feature
def subcategory_popularity_share(pairs: Pairs) -> Array:
    """item_users_4x as a share of its sum over the subcategory."""
    return pairs.of_item("users_4x") / np.maximum(pairs.sum_by("subcategory", "users_4x"), 1)


@feature
def context_users_4x(pairs: Pairs) -> Array:
    """Distinct users of the item in the last 4 horizons at the user's favourite context."""
    return pairs.of_context("users_4x")


@feature
def context_users_4th(pairs: Pairs) -> Array:
    """Distinct users of the item in the last quarter of the horizon at the user's favourite context."""
    return pairs.of_context("users_4th")
