"""Orders that need no model of the pair of user and item: what a trained stage must beat on the latest complete horizons, or else stands back for.

Each is computed from pair features, so that a stage can use it for candidates as well as judge it on examples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.ladder import EXPECTED, NAMES
from features.lookup import codes, column

Array = np.ndarray
Column = Callable[[str], Array]
"""From the name of a pair feature to its values, float32 (rows,), NaN where it does not apply."""
TIE = 1e-3
"""What users within the next longer step weigh beside those within the step."""
BETTER = 1.0
"""Standard errors by which a model must be better than the simple orders to take their place: less may be chance, and they cost nothing."""
OWN = 1e6
"""What the user's own visits weigh beside everybody's."""


def names() -> tuple[str, ...]:
    """The orders: popularity within each step of the ladder and as it is forecast, and the user's own items, then those."""
    steps = (*NAMES, EXPECTED)
    return (*(f"popular_{step}" for step in steps), *(f"own_then_popular_{step}" for step in steps))


def order(name: str, values: Column) -> Array:
    """Larger is better, float64 (rows,); comparable within a user.

    Raises:
        ValueError: no order has this name.
    """
    if name not in names():
        raise ValueError(f"{name!r} is no simple order; there are {', '.join(names())}")
    step = name.rpartition("_")[2]
    if step == EXPECTED:
        popular = np.nan_to_num(values("item_expected").astype(np.float64))
    else:
        popular = _users(values, step) + TIE * _users(values, NAMES[min(NAMES.index(step) + 1, len(NAMES) - 1)])
    if name.startswith("own"):
        return OWN * np.nan_to_num(values("history_decayed_16x").astype(np.float64)) + popular
    return popular


@dataclass(frozen=True)
class Judged:
    """The rows of one window, by which orders are held against each other."""

    column: Column
    worth: Callable[[Array], Array]
    """Of an order what each list of the window is worth, such as its NDCG: (lists,)."""
    lists: Array | None = None
    """Of each positive its list, 0 to lists - 1: int (positives,); None = each list has one."""
    items: Array | None = None
    """Of each positive its item, integers (positives,); None = all are different."""


@dataclass(frozen=True)
class Held:
    """A score held against the simple orders."""

    order: str
    """The simple order that is best on all windows."""
    own: float
    """The mean worth of the score's lists."""
    simple: float
    """The mean worth of the simple orders' lists."""
    gains: tuple[Array, Array, Array | None]
    """What the score's lists are worth more (lists,), and of each positive its list and its item: by these `narrows.metrics.z_score` says whether
    the difference is chance."""


def held(windows: Sequence[Judged], score: str) -> Held:
    """A score held against the simple orders.

    On each window stands the simple order that is best on the other ones (on itself, where it is alone): the best of many on
    the window that judges it would be so by chance.

    Args:
        windows: at least one.
        score: the column of the score, which knew nothing of the labels of these windows.
    """
    found = {name: [each.worth(order(name, each.column)) for each in windows] for name in names()}

    def best_on(which: Sequence[int]) -> str:
        return max(found, key=lambda name: float(np.concatenate([found[name][k] for k in which]).mean()))

    everywhere = range(len(windows))
    stands = [best_on([k for k in everywhere if k != at] or [at]) for at in everywhere]
    simple = np.concatenate([found[name][at] for at, name in enumerate(stands)])
    own = np.concatenate([each.worth(each.column(score)) for each in windows])
    lists, items = _positives(windows, [len(worth) for worth in found[names()[0]]])
    return Held(best_on(everywhere), float(own.mean()), float(simple.mean()), (own - simple, lists, items))


def _positives(windows: Sequence[Judged], sizes: Sequence[int]) -> tuple[Array, Array | None]:
    """Of each positive of all windows its list and its item; an item of another window counts as another one."""
    lists, items, before, most = [], [], 0, 0
    for each, size in zip(windows, sizes, strict=True):
        lists.append(before + (np.arange(size) if each.lists is None else each.lists))
        before += size
        if each.items is not None:
            items.append(most + each.items)
            most = int(items[-1].max(initial=most)) + 1
    return np.concatenate(lists), np.concatenate(items) if len(items) == len(windows) else None


def windows(
    rows: pa.Table, score: str, worth: Callable[..., Array], which: pa.ChunkedArray | None = None
) -> list[Judged]:
    """The windows of examples that carry the score and have a positive.

    Args:
        rows: asof, user_id, label, weight, the score, and the pair features of the simple orders.
        score: the name of the score's column.
        worth: of scores, labels, weights and groups (rows,) what each list is worth.
        which: bool (rows,): those that count; None = all.
    """
    needed = [
        "asof",
        "user_id",
        "item_id",
        "label",
        "weight",
        score,
        "history_decayed_16x",
        *(f"item_users_{step}" for step in NAMES),
        "item_expected",
    ]
    known = rows[score].is_valid()
    rows = rows.select(needed).filter(known if which is None else pc.and_(known, which))
    found = []
    for asof in sorted(rows["asof"].unique().to_pylist()):
        part = rows.filter(pc.equal(rows["asof"], asof))
        label, weight = column(part, "label"), column(part, "weight")
        if label.any():
            group = codes(part["user_id"], part["user_id"].combine_chunks().unique())
            lists = np.unique(group[label > 0], return_inverse=True)[1]
            item = codes(part["item_id"], part["item_id"].combine_chunks().unique())[label > 0]
            judge = partial(worth, label=label, weight=weight, group=group)
            found.append(Judged(partial(column, part), judge, lists, item))
    return found


def _users(values: Column, step: str) -> Array:
    return np.nan_to_num(values(f"item_users_{step}").astype(np.float64))
