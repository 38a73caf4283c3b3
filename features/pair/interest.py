"""What the user did with the item's category and subcategory."""

from __future__ import annotations

import numpy as np

from features.lookup import Array, Pairs
from features.pair.gaps import gap_days, gap_visits
from features.pair.history import history_last_days
from features.registry import feature


@feature
def category_decayed_16x(pairs: Pairs) -> Array:
    """Sum of 0.5^(age / 16 horizons) over the user's visits with the item's category."""
    return pairs.of_list("category", "decayed_16x")


@feature
def category_decayed_1x(pairs: Pairs) -> Array:
    """Sum of 0.5^(age / horizon) over the user's visits with the item's category."""
    return pairs.of_list("category", "decayed_1x")


@feature
def category_visit_share(pairs: Pairs) -> Array:
    """Share of the visits since the first with the item's category that had it."""
    return pairs.of_list("category", "count") / pairs.of_list("category", "first_visits")


@feature
def subcategory_decayed_16x(pairs: Pairs) -> Array:
    """Sum of 0.5^(age / 16 horizons) over the user's visits with the item's subcategory."""
    return pairs.of_list("subcategory", "decayed_16x")


@feature
def subcategory_decayed_1x(pairs: Pairs) -> Array:
    """Sum of 0.5^(age / horizon) over the user's visits with the item's subcategory."""
    return pairs.of_list("subcategory", "decayed_1x")


@feature
def subcategory_visit_share(pairs: Pairs) -> Array:
    """Share of the visits since the first with the item's subcategory that had it."""
    return pairs.of_list("subcategory", "count") / pairs.of_list("subcategory", "first_visits")


@feature
def subcategory_due(pairs: Pairs) -> Array:
    """subcategory_last_days / mean days between two visits with the item's subcategory; NaN before the second."""
    return pairs.of_list("subcategory", "last_days") / np.maximum(gap_days(pairs, "subcategory"), 0.5)


@feature
def subcategory_due_visits(pairs: Pairs) -> Array:
    """(visits since the newest with the item's subcategory + 1) / mean visits from one to the next."""
    return (pairs.of_list("subcategory", "last_visits") + 1) / gap_visits(pairs, "subcategory")


@feature
def subcategory_since_item(pairs: Pairs) -> Array:
    """Days from the user's newest event with the item to the newest with its subcategory: above 0 = another was taken since."""
    return history_last_days(pairs) - pairs.of_list("subcategory", "last_days")
