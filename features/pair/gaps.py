"""Mean gaps between the days on which a user had an item or a category."""

from __future__ import annotations

import numpy as np

from features.lookup import Array, Pairs


def gap_days(pairs: Pairs, kind: str) -> Array:
    """(first - newest) / (days - 1), NaN for a single day."""
    count = pairs.of_list(kind, "count")
    span = pairs.of_list(kind, "first_days") - pairs.of_list(kind, "last_days")
    return span / np.where(count > 1, count - 1, np.float32(np.nan))


def gap_visits(pairs: Pairs, kind: str) -> Array:
    """(visits from the first to the newest) / (days - 1), NaN for a single day."""
    count = pairs.of_list(kind, "count")
    span = pairs.of_list(kind, "first_visits") - 1 - pairs.of_list(kind, "last_visits")
    return span / np.where(count > 1, count - 1, np.float32(np.nan))
