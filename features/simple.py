"""Orders that need no model: what a trained stage must beat on the latest complete horizon, or else stands back for.

Each is computed from pair features, so that a stage can use it for candidates as well as judge it on examples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from features.ladder import NAMES

Array = np.ndarray
Column = Callable[[str], Array]
"""From the name of a pair feature to its values, float32 (rows,), NaN where it does not apply."""
TIE = 1e-3
"""What users within the next longer step weigh beside those within the step."""
OWN = 1e6
"""What the user's own visits weigh beside everybody's."""


def names() -> tuple[str, ...]:
    """The orders: popularity within each step of the ladder, and the user's own items, then those."""
    return (*(f"popular_{step}" for step in NAMES), *(f"own_then_popular_{step}" for step in NAMES))


def order(name: str, column: Column) -> Array:
    """Larger is better, float64 (rows,); comparable within a user.

    Raises:
        ValueError: no order has this name.
    """
    if name not in names():
        raise ValueError(f"{name!r} is no simple order; there are {', '.join(names())}")
    step = name.rpartition("_")[2]
    popular = _users(column, step) + TIE * _users(column, NAMES[min(NAMES.index(step) + 1, len(NAMES) - 1)])
    if name.startswith("own"):
        return OWN * np.nan_to_num(column("history_decayed_16x").astype(np.float64)) + popular
    return popular


def best(column: Column, worth: Callable[[Array], float], given: Iterable[str] = ()) -> tuple[str, float]:
    """The simple order that is worth most, and its worth; the first of equals.

    Args:
        column: of the judged rows.
        worth: of an order, such as the mean NDCG of the lists.
        given: the names of the orders; all by default.
    """
    found = {name: worth(order(name, column)) for name in (given or names())}
    name = max(found, key=lambda each: found[each])
    return name, found[name]


def _users(column: Column, step: str) -> Array:
    return np.nan_to_num(column(f"item_users_{step}").astype(np.float64))
