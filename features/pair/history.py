"""What the user did with the item itself."""

from __future__ import annotations

import numpy as np

from features.lookup import Array, Pairs
from features.pair.gaps import gap_days, gap_visits
from features.registry import feature


@feature
def history_count(pairs: Pairs) -> Array:
    """Visits on which the user had the item."""
    return pairs.of_list("history", "count")


@feature
def history_last_days(pairs: Pairs) -> Array:
    """Age of the user's newest event with the item."""
    return pairs.of_list("history", "last_days")


@feature
def history_first_days(pairs: Pairs) -> Array:
    """Age of the user's first visit with the item."""
    return pairs.of_list("history", "first_days")


@feature
def history_decayed_16x(pairs: Pairs) -> Array:
    """Sum of 0.5^(age / 16 horizons) over the visits on which the user had the item."""
    return pairs.of_list("history", "decayed_16x")


@feature
def history_decayed_4x(pairs: Pairs) -> Array:
    """Sum of 0.5^(age / 4 horizons) over the visits on which the user had the item."""
    return pairs.of_list("history", "decayed_4x")


@feature
def history_decayed_1x(pairs: Pairs) -> Array:
    """Sum of 0.5^(age / horizon) over the visits on which the user had the item."""
    return pairs.of_list("history", "decayed_1x")


@feature
def history_last_visits(pairs: Pairs) -> Array:
    """The user's visits since the newest one with the item; 0 = the item was in the newest visit."""
    return pairs.of_list("history", "last_visits")


@feature
def history_share(pairs: Pairs) -> Array:
    """history_decayed_16x as a share of its sum over the user's items."""
    return history_decayed_16x(pairs) / np.maximum(pairs.sum_of_list("history", "decayed_16x"), 1e-6)


@feature
def history_place(pairs: Pairs) -> Array:
    """How many of the user's items were had more lately."""
    return pairs.place_in_list("history")


@feature
def history_gap_days(pairs: Pairs) -> Array:
    """Mean days between two visits with the item; NaN before the second."""
    return gap_days(pairs, "history")


@feature
def history_due(pairs: Pairs) -> Array:
    """history_last_days / history_gap_days: above 1 = overdue."""
    return history_last_days(pairs) / np.maximum(history_gap_days(pairs), 0.5)


@feature
def history_gap_visits(pairs: Pairs) -> Array:
    """Mean visits from one with the item to the next with it; NaN before the second."""
    return gap_visits(pairs, "history")


@feature
def history_due_visits(pairs: Pairs) -> Array:
    """(history_last_visits + 1) / history_gap_visits: above 1 = overdue by visits."""
    return (history_last_visits(pairs) + 1) / history_gap_visits(pairs)


@feature
def history_visit_share(pairs: Pairs) -> Array:
    """Share of the visits since the first with the item that had it."""
    return history_count(pairs) / pairs.of_list("history", "first_visits")


@feature
def history_previous_due(pairs: Pairs) -> Array:
    """history_last_days / days between the two newest visits with the item; NaN before the second."""
    gap = pairs.of_list("history", "previous_days") - history_last_days(pairs)
    return history_last_days(pairs) / np.maximum(gap, 0.5)


@feature
def history_value(pairs: Pairs) -> Array:
    """Mean value (quantity, rating) of a visit with the item, summed within the visit."""
    return pairs.of_list("history", "value")
