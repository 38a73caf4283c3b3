"""Why a candidate is in its list, or is not: stable codes that a person can read."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from stages.rerank.compose import ComposedLists, ListRules
from stages.rerank.diversity import Mask, Matrix, close_gaps, counts

RECALL_REASON = "recall_reason"
"""Recall's column with the reason of the channel that ranked the candidate best."""
NOT_RANKED = "ranked"
"""The reason of a candidate without a reason of recall: rank's score put it into the list."""
KEPT = ("pinned", "explore", "filled", "boosted")
REMOVED = ("policy:block", "exploration", "policy:cap", "policy:boost", "policy:pin", "diversity", "rank_cut")


def kept(lists: ComposedLists, factor: Matrix, allowed: Mask, pinned: Mask, n: int) -> NDArray[np.int64]:
    """A position in ``KEPT`` for every listed candidate; ``len(KEPT)`` = on merit: the channel's reason."""
    earned = np.cumsum(allowed, axis=1) <= n
    conditions = [pinned, ~lists.greedy, lists.filled, (factor > 1) & ~earned]
    return np.select(conditions, list(range(len(KEPT))), len(KEPT))


def removed(
    lists: ComposedLists, relevance: Matrix, allowed: Mask, pinned: Mask, added: Mask, rules: ListRules
) -> NDArray[np.int64]:
    """A position in ``REMOVED`` for every candidate outside its list: the first of these that holds.

    The policy blocks it; the exploration slot drew another; its category is full and it beats an item that is
    in the list on merit; it would be in the plain list but a boosted, a pinned or a more different item took
    the place; it was not among the best.
    """
    n, width = rules.n, relevance.shape[1]
    plain = np.cumsum(allowed, axis=1)  # 1 = best allowed candidate in the rank stage's order
    best = np.argsort(np.where(allowed, -relevance, np.inf), axis=1, kind="stable")
    place = np.empty_like(best)
    np.put_along_axis(place, best, np.arange(1, width + 1)[None, :], axis=1)
    worst = np.where(lists.greedy & ~pinned & ~lists.filled, place, 0).max(axis=1, initial=0)[:, None]
    lifted = (pinned & ((place > n) | added)).sum(axis=1)[:, None]  # took a place that another had earned
    full = np.zeros(relevance.shape, bool)
    if rules.caps is not None and rules.categories is not None:
        listed = close_gaps(np.where(lists.greedy, np.arange(width, dtype=np.int32), -1))[:, :n]
        full = (counts(listed, rules.categories) >= rules.caps) & (place < np.maximum(worst, n + 1))
    conditions = [
        ~allowed,
        lists.greedy,
        full,
        (place > n) & (plain <= n),
        (place <= n) & (place > n - lifted),
        place <= n,
    ]
    return np.select(conditions, list(range(len(conditions))), len(conditions))


def channels(candidates: pa.Table) -> pa.Array:
    """The reason of the recall channel that ranked a candidate best; ``ranked`` where the table has none."""
    if RECALL_REASON not in candidates.column_names:
        return pa.repeat(NOT_RANKED, candidates.num_rows)
    return pc.fill_null(candidates[RECALL_REASON], NOT_RANKED)
