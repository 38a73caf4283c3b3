"""What the user did altogether."""

from __future__ import annotations

import numpy as np

from features.lookup import Array, Pairs
from features.registry import feature


@feature
def user_events_4x(pairs: Pairs) -> Array:
    """Events of the user in the last 4 horizons."""
    return pairs.of_user("events_4x")


@feature
def user_events_1x(pairs: Pairs) -> Array:
    """Events of the user in the last horizon."""
    return pairs.of_user("events_1x")


@feature
def user_events(pairs: Pairs) -> Array:
    """Events of the user."""
    return pairs.of_user("events")


@feature
def user_visits(pairs: Pairs) -> Array:
    """Visits of the user."""
    return pairs.of_user("visits")


@feature
def user_last_days(pairs: Pairs) -> Array:
    """Age of the user's newest event."""
    return pairs.of_user("days_since_last_event")


@feature
def user_variety(pairs: Pairs) -> Array:
    """Distinct items / events of the user."""
    return pairs.of_user("distinct_items") / np.maximum(pairs.of_user("events"), 1)
