"""How the work on lists is cut up: groups of users that are alike, and threads that take whole groups."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from features.lookup import Array
from stages.rank.inputs import CandidateLists

HEAD_EVENTS = 32
"""What a candidate costs beside the events, in events: the dense layers."""


def work_of(lists: CandidateLists) -> Array:
    """What each user costs, in pairs of a candidate and an event: int64 (users,)."""
    known = np.any(lists.sequence > 0, axis=-1)
    events = np.where(np.any(known, axis=1), known.shape[1] - np.argmax(known, axis=1), 0)
    return np.diff(lists.bounds) * (events + HEAD_EVENTS)


def alike(users: Array, work: Array, least: float, most: int) -> list[Array]:
    """The users by falling work, cut into at most `most` groups of about equal work, none of less than `least` if several.

    Each group is padded to its own longest list only. The cut does not depend on the machine.

    Args:
        users: rows, int64 (n,).
        work: of every user there is, by row.
        least: work that is worth a group of its own.
        most: groups.
    """
    if not len(users):
        return []
    users = users[np.argsort(-work[users], kind="stable")]
    running = np.cumsum(work[users])
    count = int(min(most, max(running[-1] // least, 1), len(users)))
    cuts = np.searchsorted(running, running[-1] * np.arange(1, count) / count)
    return [group for group in np.split(users, np.unique(cuts)) if len(group)]


class Helpers:
    """Threads beside this one; every operation of torch runs in one of them alone.

    Operations of a millisecond that are split over threads wait for each other: on cores that others use too, longer
    than they work.
    """

    def __init__(self, pool: ThreadPoolExecutor | None):
        self.pool = pool
        self.tasks: list[tuple[Callable[[], Any], Future[Any] | None]] = []

    def add(self, task: Callable[[], Any]) -> None:
        """A task for the next free thread; without helpers it waits for `results`."""
        self.tasks.append((task, self.pool.submit(task) if self.pool else None))

    def results(self) -> list[Any]:
        """Of all tasks, in the order in which they were added; this thread takes the last ones that wait."""
        mine = {}
        for k, (task, future) in reversed(list(enumerate(self.tasks))):
            if future is None or future.cancel():
                mine[k] = task()
        done = [future.result() if future and k not in mine else mine[k] for k, (_, future) in enumerate(self.tasks)]
        self.tasks = []
        return done


@contextmanager
def helpers(where: torch.device, threads: int | None = None) -> Iterator[Helpers]:
    """As many threads as torch was given, this one included; none beside a GPU, whose work is queued by one."""
    before = torch.get_num_threads()
    count = (threads or before) if where.type == "cpu" else 1
    torch.set_num_threads(1)
    try:
        if count < 2:
            yield Helpers(None)
        else:
            with ThreadPoolExecutor(count - 1) as pool:
                yield Helpers(pool)
    finally:
        torch.set_num_threads(before)
