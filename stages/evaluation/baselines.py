"""Lists anybody could make without a cascade, from the profiles alone, for known and unknown users; they ignore eligibility and policy."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.ladder import by_popularity
from narrows.columns import ITEM, USER
from stages.evaluation.judge import Judge, JudgedLists, Pool
from stages.evaluation.ledger import codes


def popular(judge: Judge, users: pa.Table, items: pa.Table, step: str, n: int, new: bool = False) -> JudgedLists:
    """The most popular items of a step of the ladder (ties by the longer steps, then by item_id) for every user.

    Args:
        judge: codes users and items.
        users: user_profiles.
        items: item_profiles.
        step: the window, chosen by what it was worth a horizon before.
        n: list length.
        new: leave out what the user has in their history; only for users who are judged.
    """
    if not new:
        pool, rank = _most_popular(judge, np.arange(len(judge.users)), items, step, n)
        return pool.top(rank, n)
    judged = judge.populations["all"].row >= 0
    mine = users.filter(pa.array(judged[codes(users[USER], judge.users)]))
    longest = pc.max(pc.list_value_length(mine["history_item"])).as_py() or 0
    pool, rank = _most_popular(judge, np.flatnonzero(judged), items, step, n + longest)
    return pool.top(rank, n, new=True)


def own_then_popular(
    judge: Judge, users: pa.Table, items: pa.Table, step: str, n: int, by: str = "history_decayed_16x"
) -> JudgedLists:
    """The user's own items by ``history_decayed_16x`` descending (ties in profile order), then the popular ones they lack.

    Args:
        judge: codes users and items.
        users: user_profiles.
        items: item_profiles.
        step: of the popular ones.
        n: list length.
        by: the list of the profiles that own items are ordered by.
    """
    history = users["history_item"].combine_chunks()
    owner = codes(users[USER], judge.users)[pc.list_parent_indices(history).to_numpy()]
    worth = users[by].combine_chunks().flatten().to_numpy(zero_copy_only=False).astype(float)
    fill, rank = _most_popular(
        judge, np.arange(len(judge.users)), items, step, 2 * n
    )  # who has under n own items lacks n of 2n
    lacks = fill.new
    user = np.concatenate([owner, fill.user[lacks]])
    item = np.concatenate([codes(history.flatten(), judge.items), fill.item[lacks]])
    behind = -worth.min() if len(worth) else 0.0
    return Pool(user, item, np.zeros(len(user), bool)).top(np.concatenate([-worth, behind + rank[lacks]]), n)


def _most_popular(
    judge: Judge, everyone: np.ndarray, items: pa.Table, step: str, depth: int
) -> tuple[Pool, np.ndarray]:
    """The ``depth`` most popular items for each of the coded users, and their popularity rank (1 = best)."""
    best = codes(items.sort_by(by_popularity(items, step))[ITEM][:depth], judge.items)
    user, item = np.repeat(everyone, len(best)), np.tile(best, len(everyone))
    return judge.pool(user, item), np.tile(np.arange(1.0, len(best) + 1), len(everyone))
