"""The ladder of time scales: windows and half-lives are multiples of the horizon, each four times the one before.

A step is named by its length: ``1x`` is one horizon, ``4x`` four horizons, ``16th`` a sixteenth of one. With a horizon of
a week ``1x`` and ``4x`` are 7 and 28 days; with one of a day ``16th`` is an hour and a half.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

STEPS: dict[str, float] = {
    "64th": 1 / 64, "16th": 1 / 16, "4th": 1 / 4, "1x": 1.0, "4x": 4.0, "16x": 16.0, "64x": 64.0,
}  # fmt: skip
"""The steps by name, shortest first, in horizons."""
GROUP_STEPS = ("4th", "1x", "4x", "16x")
"""The steps for which an item's users are counted by context and segment."""
CONTEXT_STEP = "1x"
"""That by which contexts are compared."""
NAMES = tuple(STEPS)
DEMAND = "users_1x"
"""The item column that says what was wanted in the last horizon."""
EXPECTED = "expected"
"""Beside the steps, the forecast of the coming horizon's demand: the item column ``expected_demand``."""
DEPTH = 20
"""Items of the lists by which the steps are compared."""


def words(step: str) -> str:
    """A step in words: ``a sixteenth of the horizon``, ``4 horizons``."""
    fractions = {"64th": "a sixty-fourth", "16th": "a sixteenth", "4th": "a quarter"}
    if step in fractions:
        return f"{fractions[step]} of the horizon"
    return "horizon" if step == "1x" else f"{step[:-1]} horizons"


def slower(step: str, among: Sequence[str] = NAMES) -> str:
    """The step above, or the longest there is; the nearest of ``among``."""
    place = min(NAMES.index(step) + 1, len(NAMES) - 1)
    return min(among, key=lambda name: abs(NAMES.index(name) - place))


def counted(step: str) -> str:
    """The item column by which a step, or the forecast, orders items."""
    return "expected_demand" if step == EXPECTED else f"users_{step}"


def by_popularity(items: pa.Table, step: str) -> list[tuple[str, str]]:
    """Sort keys of an item table: most users within the step first, ties by the longer steps, then by the item's id."""
    have = set(items.column_names)
    keys = [(counted(name), "descending") for name in NAMES[NAMES.index(step) :] if counted(name) in have]
    return [*keys, ("item_id", "ascending")]


def best_step(before: pa.Table | None, now: pa.Table, default: str = "1x") -> str:
    """The step whose most popular items, a horizon ago, were most wanted since: what suits the data.

    Each step's list of 20 is worth the sum over its places p of (users of the item in the last horizon) / log2(p + 1).

    Args:
        before: item_profiles a horizon before; None = there is none, and the default is the answer.
        now: item_profiles; their ``users_1x`` is what was wanted.
        default: where nothing can be compared.
    """
    import numpy as np
    import pyarrow.compute as pc

    if before is None or not before.num_rows or DEMAND not in now.column_names:
        return default
    place = pc.index_in(before["item_id"], value_set=now["item_id"].combine_chunks())
    wanted = np.append(np.nan_to_num(now[DEMAND].to_numpy().astype(float)), 0.0)
    demand = wanted[pc.fill_null(place, now.num_rows).to_numpy()]
    if not demand.any():
        return default
    worth = {}
    for step in (name for name in NAMES if counted(name) in before.column_names):
        counts = np.nan_to_num(before[counted(step)].to_numpy())
        order = pc.sort_indices(before, sort_keys=by_popularity(before, step)).to_numpy()[:DEPTH]
        order = order[counts[order] > 0]
        worth[step] = float((demand[order] / np.log2(np.arange(len(order)) + 2)).sum())
    return max(worth, key=lambda step: worth[step], default=default)
