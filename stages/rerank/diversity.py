"""The order of a list: maximal marginal relevance under caps and pins, for many users at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Codes = NDArray[np.int32]
Mask = NDArray[np.bool_]


def choose(
    relevance: Matrix,
    allowed: Mask,
    kinds: Sequence[tuple[float, Codes]],
    trade: float,
    n: int,
    categories: Codes,
    caps: NDArray[np.int32] | None = None,
    pins: Codes | None = None,
) -> Codes:
    """Pick up to ``n`` candidates for every user, one position at a time.

    Maximal marginal relevance (Carbonell & Goldstein 1998, section 2):
    ``argmax trade * relevance - (1 - trade) * max similarity to what was picked``. The similarity of two
    items is the summed weight of the kinds (category, brand, ...) in which they agree, in [0, 1].

    Args:
        relevance: (users, candidates) in [0, 1]; ties go to the first column.
        allowed: (users, candidates), False for padding and for blocked candidates.
        kinds: (weight, codes (users, candidates)) pairs, weights summing to 1; code -1 agrees with nothing.
        trade: the lambda of the paper; 1 = relevance alone.
        n: the most positions to fill.
        categories: (users, candidates) codes that ``caps`` counts; -1 is never counted.
        caps: (users, candidates), the most items of a candidate's category in the list; None = no caps.
        pins: (users, n), the column pinned at a position, -1 = none. Pins ignore caps and count towards them.

    Returns:
        (users, n) columns in list order, -1 after a list's end.
    """
    users, width = relevance.shape
    rows = np.arange(users)
    free = allowed.copy()
    order = np.full((users, n), -1, np.int32)
    if not width or not users:
        return order
    if pins is not None:  # a pinned candidate waits for its position
        which, at = np.nonzero(pins >= 0)
        free[which, pins[which, at]] = False
    used = np.zeros((users, width), np.int32)
    nearest = np.zeros((users, width))
    gain = trade * relevance
    for position in range(n):
        open_ = free if caps is None else free & (used < caps)
        value = gain if trade >= 1 else gain - (1 - trade) * nearest
        pick = np.where(open_, value, -np.inf).argmax(axis=1)
        picked = open_[rows, pick]
        if pins is not None:
            pinned = pins[:, position] >= 0
            pick = np.where(pinned, pins[:, position], pick)
            picked |= pinned
        order[picked, position] = pick[picked]
        free[rows[picked], pick[picked]] = False
        if trade < 1:
            alike = np.zeros((users, width))
            for weight, codes in kinds:
                alike += weight * _same(codes, pick, picked)
            np.maximum(nearest, alike, out=nearest)
        if caps is not None:
            used += _same(categories, pick, picked)
    return close_gaps(order) if pins is not None else order


def fill(order: Codes, allowed: Mask, minimum: int) -> Mask:
    """Lengthen lists below ``minimum`` in place with the first allowed columns that are not in them.

    Returns:
        (users, n), True where a position was filled so.
    """
    filled = np.zeros(order.shape, bool)
    length = (order >= 0).sum(axis=1)
    goal = np.minimum(np.minimum(minimum, order.shape[1]), allowed.sum(axis=1))
    for row in np.flatnonzero(length < goal):
        have = order[row, : length[row]]
        spare = np.setdiff1d(np.flatnonzero(allowed[row]), have)[: goal[row] - length[row]]
        order[row, length[row] : length[row] + len(spare)] = spare
        filled[row, length[row] : length[row] + len(spare)] = True
    return filled


def close_gaps(order: Codes) -> Codes:
    """Move every list's entries to its front, in their order; -1 goes to the end."""
    return np.take_along_axis(order, np.argsort(order < 0, axis=1, kind="stable"), axis=1)


def counts(order: Codes, categories: Codes) -> NDArray[np.int32]:
    """How many items of each candidate's category a list holds, (users, candidates) int32."""
    used = np.zeros(categories.shape, np.int32)
    for position in range(order.shape[1]):
        used += _same(categories, order[:, position], order[:, position] >= 0)
    return used


def _same(codes: Codes, pick: NDArray[np.integer], picked: Mask) -> Mask:
    """Which candidates agree with the picked one, (users, candidates); -1 agrees with nothing."""
    code = codes[np.arange(len(codes)), pick]
    code = np.where(picked & (code >= 0), code, -2)
    return codes == code[:, None]
