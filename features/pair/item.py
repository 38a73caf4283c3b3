"""What happened to the item, and to its category, subcategory and context."""

from __future__ import annotations

import numpy as np

from features.lookup import Array, Pairs
from features.pair.history import history_last_days
from features.registry import feature


@feature
def item_users_7d(pairs: Pairs) -> Array:
    """Distinct users of the item in the last 7 days."""
    return pairs.of_item("users_7d")


@feature
def item_users_28d(pairs: Pairs) -> Array:
    """Distinct users of the item in the last 28 days."""
    return pairs.of_item("users_28d")


@feature
def item_users_90d(pairs: Pairs) -> Array:
    """Distinct users of the item in the last 90 days."""
    return pairs.of_item("users_90d")


@feature
def item_trend(pairs: Pairs) -> Array:
    """item_users_7d / item_users_28d."""
    return item_users_7d(pairs) / np.maximum(item_users_28d(pairs), 1)


@feature
def item_trend_long(pairs: Pairs) -> Array:
    """item_users_28d / item_users_90d."""
    return item_users_28d(pairs) / np.maximum(item_users_90d(pairs), 1)


@feature
def item_last_days(pairs: Pairs) -> Array:
    """Age of the item's newest event."""
    return pairs.of_item("days_since_last_event")


@feature
def item_repeat_share(pairs: Pairs) -> Array:
    """Share of the item's users with two days or more."""
    return pairs.of_item("repeat_share")


@feature
def item_gap_days(pairs: Pairs) -> Array:
    """Mean days between two days of one user with the item."""
    return pairs.of_item("mean_gap_days")


@feature
def item_days_per_user(pairs: Pairs) -> Array:
    """Mean days with the item per user that had it."""
    return pairs.of_item("days_per_user")


@feature
def item_due(pairs: Pairs) -> Array:
    """history_last_days / item_gap_days."""
    return history_last_days(pairs) / np.maximum(item_gap_days(pairs), 0.5)


@feature
def item_price(pairs: Pairs) -> Array:
    """Mean price of the item."""
    return pairs.of_item("price")


@feature
def item_price_ratio(pairs: Pairs) -> Array:
    """Mean price in the last 7 days / mean price: below 1 = on offer."""
    return pairs.of_item("recent_price") / np.maximum(item_price(pairs), 0.01)


@feature
def category_trend(pairs: Pairs) -> Array:
    """Users in the last 7 days / in the last 28, both summed over the items of the item's category."""
    return pairs.sum_by("category", "users_7d") / np.maximum(pairs.sum_by("category", "users_28d"), 1)


@feature
def subcategory_trend(pairs: Pairs) -> Array:
    """Users in the last 7 days / in the last 28, both summed over the items of the item's subcategory."""
    return pairs.sum_by("subcategory", "users_7d") / np.maximum(pairs.sum_by("subcategory", "users_28d"), 1)


@feature
def subcategory_popularity_share(pairs: Pairs) -> Array:
    """item_users_28d as a share of its sum over the subcategory."""
    return item_users_28d(pairs) / np.maximum(pairs.sum_by("subcategory", "users_28d"), 1)


@feature
def context_users_28d(pairs: Pairs) -> Array:
    """Distinct users of the item in the last 28 days at the user's favourite context."""
    return pairs.of_context("users_28d")
