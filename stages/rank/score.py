"""Scoring, list by list, with as many users at a time as the device holds."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from features.lookup import Array
from stages.rank.inputs import CandidateLists
from stages.rank.place import Batch, Feed, Step, autocast, device
from stages.rank.work import helpers, work_of

CELLS = 2048
"""Candidates of a pass on the CPU, padding included: what it computes stays near the processor."""
PASSES = 8
"""Passes that are cut at a time."""
SHARE_OF_FREE = 0.5
"""Of a GPU's free memory, that a pass may take."""


def score(net: nn.Module, lists: CandidateLists, memory: float | None = None) -> Array:
    """Logits of all candidates, float32 [candidates].

    Args:
        net: as it is, on whatever device.
        lists: of any users.
        memory: bytes of lists that may be on the device; None = what fits.
    """
    where = device()
    net.to(where).eval()
    feed = Feed([(lists, None)], where, memory)
    counts = np.diff(lists.bounds)
    users = np.flatnonzero(counts)
    users = users[np.argsort(-work_of(lists)[users], kind="stable")]
    out = torch.zeros(len(lists) + 1, device=where)  # the last cell takes what is padding
    with helpers(where) as others:
        groups = passes(users, counts, _cells(net, feed, users))
        steps = [Step(0, groups[at : at + PASSES]) for at in range(0, len(groups), PASSES)]
        for _, batches in feed.batches(steps):
            for batch in batches:
                others.add(partial(_pass, net, batch, out))
            others.results()
    return out[:-1].cpu().numpy()


def passes(users: Array, counts: Array, cells: int) -> list[Array]:
    """The users in their order, cut where a group's lists, padded to its longest, would be more than `cells` candidates.

    A user with more is a group alone. `counts`: candidates of every user there is, by row.
    """
    groups, first, longest = [], 0, 0
    for at, count in enumerate(counts[users].tolist()):
        longest = max(longest, count)
        if at > first and longest * (at + 1 - first) > cells:
            groups.append(users[first:at])
            first, longest = at, count
    return [*groups, users[first:]] if first < len(users) else groups


def _pass(net: nn.Module, batch: Batch, out: Tensor) -> None:
    with torch.inference_mode(), autocast(batch.real.device):
        logits = net(*batch.arguments).float()
        out[torch.where(batch.real, batch.rows, len(out) - 1)] = logits


def _cells(net: nn.Module, feed: Feed, users: Array) -> int:
    """Candidates of a pass: on a GPU by what a small one takes there."""
    if feed.where.type == "cpu" or not len(users):
        return CELLS
    few = passes(users, feed.counts[0], CELLS)[0]
    before = torch.cuda.memory_allocated(feed.where)
    torch.cuda.reset_peak_memory_stats(feed.where)
    for _, (batch,) in feed.batches([Step(0, [few])]):
        _pass(net, batch, torch.zeros(int(feed.counts[0].sum()) + 1, device=feed.where))
        taken = torch.cuda.max_memory_allocated(feed.where) - before
        free = torch.cuda.mem_get_info(feed.where)[0] * SHARE_OF_FREE
        return max(CELLS, int(free / max(taken / batch.real.numel(), 1)))
    return CELLS
