"""Candidates in order: the place of each within its user, the best n of every user, and a reason for the others."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from narrows.columns import REASON, stage_rank, stage_score
from narrows.stage import Narrowed


def place_in_run(group: np.ndarray) -> np.ndarray:
    """Each row's place within its run of equal values: int64 (rows,), 1 = first."""
    if not len(group):
        return np.zeros(0, np.int64)
    first = np.flatnonzero(np.concatenate([[True], group[1:] != group[:-1]]))
    return np.arange(len(group)) - np.repeat(first, np.diff(np.append(first, len(group)))) + 1


def positions(user: np.ndarray, rank: np.ndarray) -> np.ndarray:
    """Each row's place within its user by ``rank`` ascending: int64 (rows,), 1 = best, ties in row order."""
    same = user[1:] == user[:-1]
    if (user[1:] >= user[:-1]).all() and (rank[1:] >= rank[:-1])[same].all():  # so tables come: no sort needed
        return place_in_run(user)
    order = np.lexsort((rank, user))
    place = np.empty(len(user), np.int64)
    place[order] = place_in_run(user[order])
    return place


def top(user: np.ndarray, rank: np.ndarray, n: int) -> np.ndarray:
    """Whether a row is among its user's ``n`` best by ``rank``: bool (rows,)."""
    return positions(user, rank) <= n


def split(rows: pa.Table, kept: np.ndarray, reason: str | np.ndarray) -> Narrowed:
    """Rows into kept and removed ones, each in the order of the rows.

    Args:
        rows: the stage's candidates with its columns, grouped by user, best first.
        kept: bool (rows,).
        reason: why rows are removed: one text, or one for each row (kept rows' are not read).
    """
    removed = rows.filter(pa.array(~kept))
    reasons = pa.repeat(reason, len(removed)) if isinstance(reason, str) else pa.array(reason[~kept], pa.string())
    return Narrowed(rows.filter(pa.array(kept)), removed.append_column(REASON, reasons))


def keep_best(
    stage: str, candidates: pa.Table, user: np.ndarray, order_by: np.ndarray, score: np.ndarray, n: int
) -> Narrowed:
    """The best n candidates of each user; the others are removed with the reason ``<stage>_cut``.

    Both parts get the columns ``<stage>_score`` f32 and ``<stage>_rank`` i32 (1 = best) and stand best first.

    Args:
        stage: the stage's name.
        candidates: what the stage received.
        user: int (candidates,), the row of the candidate's user in the shard.
        order_by: float (candidates,), larger is better; ties stay in the order of the candidates.
        score: float (candidates,), what the stage says of each.
        n: the most that a user keeps.
    """
    order = np.lexsort((-order_by, user))
    rank = place_in_run(user[order]).astype(np.int32)

    def part(which: np.ndarray) -> pa.Table:
        at = order[which]  # each row is copied once: candidates are wide
        rows = candidates.take(pa.array(at)).append_column(stage_score(stage), pa.array(score[at], pa.float32()))
        return rows.append_column(stage_rank(stage), pa.array(rank[which]))

    kept, removed = part(rank <= n), part(rank > n)
    return Narrowed(kept, removed.append_column(REASON, pa.repeat(f"{stage}_cut", len(removed))))
