"""A user's latest items before a request, and how a candidate compares with them."""

from __future__ import annotations

import numpy as np

from narrows.codesign.log import Array

LENGTH = 50
"""Events of a sequence, the latest ones."""


def latest(history: Array, user: Array, time: Array, length: int = LENGTH) -> tuple[Array, Array]:
    """The latest items before each request, and how many events there were before it.

    Args:
        history: int64 [3, events]: user, time and item (from 0) of every event, in any order; numbers of users from 0.
        user: int64 [requests].
        time: int64 [requests]: events of this instant or later do not count.
        length: of a sequence.

    Returns:
        int32 [requests, length], 1 + the items, the latest last, 0 = none; and int64 [requests].
    """
    who, when, item = history[:, np.lexsort((history[1], history[0]))]
    # One key for user and instant: instants become their ranks, which stay below the factor.
    instants = np.unique(when)
    factor = len(instants) + 1
    key = who * factor + np.searchsorted(instants, when)
    begin = np.searchsorted(who, user)
    end = np.searchsorted(key, user * factor + np.searchsorted(instants, time))
    place = end[:, None] - length + np.arange(length)
    there = place >= begin[:, None]
    code = 1 + item[np.where(there, place, 0)] if len(item) else np.zeros(place.shape, np.int64)
    return np.where(there, code, 0).astype(np.int32), end - begin


def matches(past: Array, request: Array, of: Array, block: int = 200_000) -> Array:
    """How many entries of its request's row of ``past`` [requests, length] equal each value of ``of`` [rows]: int64."""
    parts = [
        (past[request[first : first + block]] == of[first : first + block, None]).sum(1)
        for first in range(0, len(of), block)
    ]
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)
