"""What the user looked at (events of the kind ``context``), apart from what was taken; NaN or 0 where there is none."""

from __future__ import annotations

import numpy as np

from features.lookup import Array, Pairs
from features.pair.history import history_last_days
from features.registry import feature


def _viewed(pairs: Pairs, name: str) -> Array:
    if "viewed_item" not in pairs.users.column_names:  # profiles of another pipeline
        return np.full(len(pairs), np.nan, np.float32)
    return pairs.of_list("viewed", name)


def _of_item(pairs: Pairs, name: str) -> Array:
    known = name in pairs.items.column_names
    return pairs.of_item(name) if known else np.full(len(pairs), np.nan, np.float32)


@feature
def viewed_count(pairs: Pairs) -> Array:
    """Context events (views, carts) of the user with the item."""
    return _viewed(pairs, "count")


@feature
def viewed_last_days(pairs: Pairs) -> Array:
    """Age of the user's newest context event with the item."""
    return _viewed(pairs, "last_days")


@feature
def viewed_since_taken(pairs: Pairs) -> Array:
    """Days from the user's newest event with the item to the newest context event with it: above 0 = looked at since."""
    return history_last_days(pairs) - viewed_last_days(pairs)


@feature
def item_viewers(pairs: Pairs) -> Array:
    """Distinct users with a context event with the item in the last horizon."""
    return _of_item(pairs, "viewers")


@feature
def item_viewers_long(pairs: Pairs) -> Array:
    """Distinct users with a context event with the item in the last four horizons."""
    return _of_item(pairs, "viewers_long")
