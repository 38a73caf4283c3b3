"""Candidate lists on the device that trains and scores: all at once where they fit, else block by block.

A batch is cut out of them there, by index: all that is copied for it is the order of the users, once a block.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from features.lookup import Array
from stages.rank.inputs import CandidateLists, Labels

SHARE_OF_MEMORY = 0.4
"""Of a GPU's free memory, that lists may take; the rest is for activations."""
Data = list[tuple[CandidateLists, Labels | None]]
"""Lists of several windows, with their labels where there are any."""


def device() -> torch.device:
    """The GPU of this process where there is one, else the CPU."""
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")


def autocast(where: torch.device) -> torch.autocast:
    """bfloat16 products on a GPU."""
    return torch.autocast(where.type, torch.bfloat16, enabled=where.type == "cuda")


def memory_for_lists(where: torch.device) -> float:
    """Bytes that lists may take on a device; on the CPU they are there already."""
    return torch.cuda.mem_get_info(where)[0] * SHARE_OF_MEMORY if where.type == "cuda" else math.inf


@dataclass(frozen=True)
class Batch:
    """Some users as a network reads them; what is padding repeats the user's first candidate."""

    arguments: tuple[Tensor, ...]
    """Of the network: sequence, ages, parts, dense."""
    rows: Tensor
    """int64 [users, list]: the candidates' rows in the window's lists."""
    real: Tensor
    """bool [users, list], False = padding."""
    labels: tuple[Tensor, ...]
    """float32 [users, list] each: those of `Labels.columns`; none without labels."""


class Placed:
    """Candidate lists, and their labels if there are any, on a device."""

    def __init__(self, lists: CandidateLists, labels: Labels | None, where: torch.device, rows: Array | None = None):
        """`rows`: where these candidates stand in the lists that they were taken from, int64; None = they are all."""
        self.where = where
        self.of_whole = None if rows is None else self.put(rows)
        self.start, self.stop = self.put(lists.bounds[:-1]), self.put(lists.bounds[1:])
        self.arrays = [self.put(array) for array in (lists.sequence, lists.ages, lists.parts, lists.dense)]
        self.labels = None if labels is None else self.put(labels.columns())

    def put(self, array: Array) -> Tensor:
        """A NumPy array on the device; on the CPU the same memory."""
        tensor = torch.from_numpy(np.ascontiguousarray(array))
        return tensor.pin_memory().to(self.where, non_blocking=True) if self.where.type == "cuda" else tensor

    def batch(self, users: Tensor, longest: int) -> Batch:
        """Users by row, int64 (users,) on the device, of whom each has candidates, and none more than `longest`."""
        start, stop = self.start[users, None], self.stop[users, None]
        rows = start + torch.arange(longest, device=self.where)
        real = rows < stop
        rows = torch.where(real, rows, start)
        sequence, ages, parts, dense = self.arrays
        labels = () if self.labels is None else self.labels[rows].unbind(-1)
        arguments = sequence[users], ages[users], parts[rows], dense[rows]
        return Batch(arguments, rows if self.of_whole is None else self.of_whole[rows], real, labels)


@dataclass(frozen=True)
class Step:
    """What is worked on together: groups of users of one window, each group padded to its own longest list."""

    window: int
    groups: list[Array]
    """Rows of the users, int64 (users,) each; not empty."""


class Feed:
    """Batches cut on a device, out of the lists of all windows where these fit there, else out of blocks of steps.

    Args:
        data: the windows.
        where: the device.
        most: bytes of lists that may be there; None = a share of the device's free memory.
    """

    def __init__(self, data: Data, where: torch.device, most: float | None = None):
        self.data, self.where = data, where
        self.most = memory_for_lists(where) if most is None else most
        self.counts = [np.diff(lists.bounds) for lists, _ in data]
        self.held: list[Placed] | None = None
        if sum(lists.nbytes for lists, _ in data) <= self.most:
            self.held = [Placed(lists, labels, where) for lists, labels in data]

    def batches(self, steps: list[Step]) -> Iterator[tuple[Step, list[Batch]]]:
        """Each step with a batch of each of its groups; the host makes a block ready while a GPU works on the last."""
        for block in self._blocks(steps):
            order = {k: self._order(k, [g for s in block if s.window == k for g in s.groups]) for k in _windows(block)}
            for step in block:
                yield step, [next(order[step.window]) for _ in step.groups]

    def _blocks(self, steps: list[Step]) -> Iterator[list[Step]]:
        """All steps, or runs of them whose users' lists take half of the memory; a step that takes more is one alone."""
        if self.held is not None:
            yield steps
            return
        each = [lists.nbytes / max(len(lists), 1) for lists, _ in self.data]  # bytes a candidate
        block: list[Step] = []
        taken = 0.0
        for step in steps:
            size = each[step.window] * sum(int(self.counts[step.window][users].sum()) for users in step.groups)
            if block and taken + size > self.most / 2:
                yield block
                block, taken = [], 0.0
            block.append(step)
            taken += size
        yield block

    def _order(self, window: int, groups: list[Array]) -> Iterator[Batch]:
        """The batches of a window's groups in a block; the order of its users goes to the device in one copy."""
        who = np.concatenate([np.empty(0, np.int64), *groups])
        if self.held is not None:
            there = self.held[window]
        else:
            lists, labels = self.data[window]
            part, rows = lists.take(who)
            there = Placed(part, labels.take(rows) if labels else None, self.where, rows)
            who = np.arange(len(who))
        users = there.put(who).split([len(group) for group in groups])
        for some, group in zip(users, groups, strict=True):
            yield there.batch(some, int(self.counts[window][group].max()))


def _windows(steps: list[Step]) -> set[int]:
    return {step.window for step in steps}
