"""Candidates as arrays: the place of each within its user, and the best n of every user."""

from __future__ import annotations

import numpy as np


def positions(user: np.ndarray, rank: np.ndarray) -> np.ndarray:
    """Each row's place within its user by ``rank`` ascending: int64 (rows,), 1 = best, ties in row order."""
    if not len(user):
        return np.zeros(0, np.int64)
    same = user[1:] == user[:-1]
    if (user[1:] >= user[:-1]).all() and (rank[1:] >= rank[:-1])[same].all():  # so tables come: no sort needed
        order = np.arange(len(user))
    else:
        order = np.lexsort((rank, user))
    first = np.flatnonzero(np.concatenate([[True], np.diff(user[order]) != 0]))
    place = np.empty(len(user), np.int64)
    place[order] = np.arange(len(user)) - np.repeat(first, np.diff(np.append(first, len(user)))) + 1
    return place


def top(user: np.ndarray, rank: np.ndarray, n: int) -> np.ndarray:
    """Whether a row is among its user's ``n`` best by ``rank``: bool (rows,)."""
    return positions(user, rank) <= n
