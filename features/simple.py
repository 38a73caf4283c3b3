"""Orders that need no model: what a trained stage must beat on the latest complete horizons, or else stands back for.

Each is computed from pair features, so that a stage can use it for candidates as well as judge it on examples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Judged:
    """The rows of one window, by which orders are held against each other."""

    column: Column
    worth: Callable[[Array], Array]
    """Of an order what each list of the window is worth, such as its NDCG: (lists,)."""


def against(windows: Sequence[Judged], score: str) -> tuple[str, float, float]:
    """A score held against the simple orders.

    On each window stands the simple order that is best on the other ones (on itself, where it is alone): the best of many on
    the window that judges it would be so by chance.

    Args:
        windows: at least one.
        score: the column of the score, which knew nothing of the labels of these windows.

    Returns:
        The simple order that is best on all windows; the mean worth of the score's lists and of the simple ones'.
    """
    found = {name: [each.worth(order(name, each.column)) for each in windows] for name in names()}

    def best_on(which: Sequence[int]) -> str:
        return max(found, key=lambda name: float(np.concatenate([found[name][k] for k in which]).mean()))

    everywhere = range(len(windows))
    stands = [best_on([k for k in everywhere if k != at] or [at]) for at in everywhere]
    simple = np.concatenate([found[name][at] for at, name in enumerate(stands)])
    own = np.concatenate([each.worth(each.column(score)) for each in windows])
    return best_on(everywhere), float(own.mean()), float(simple.mean())


def _users(column: Column, step: str) -> Array:
    return np.nan_to_num(column(f"item_users_{step}").astype(np.float64))
