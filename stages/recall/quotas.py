"""How many candidates each channel may give: learned from what its ranks were worth at earlier as-ofs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.lookup import Array, codes
from narrows.columns import ITEM, REASON, USER, stage_rank
from narrows.stage import Past

BLOCK = 10
"""Ranks of a channel that are taken or left together."""
LEAST = 10
"""No channel falls below: what it finds must stay visible, so that a later run can give it more."""
USERS = 2000
"""Users of an as-of whose candidates are looked at."""
PRIOR = 200.0
"""Candidates of the average worth that every block is believed to have beside its own: damps chance."""


def learned(
    flows: Past, events: pa.Table, horizon: timedelta, start: Mapping[str, int], fixed: Mapping[str, int], n: int
) -> dict[str, int]:
    """The quota of every channel, so that a user has about ``n`` candidates with as many positives as can be.

    Greedy by marginal gain: again and again the channel is given ten ranks more whose candidates, those that are in already
    left out, hold the most positives per candidate.

    Args:
        flows: recall's tables of earlier as-ofs; without any the quotas are those of the ``start``.
        events: user_id, item_id, event_time of what is known: positives of the horizons after those as-ofs.
        horizon: of the labels.
        start: quotas where nothing can be learned, of all channels.
        fixed: quotas that a setting fixes.
        n: candidates of a user.
    """
    parts = [
        part for asof, table in flows.items()
        if (part := _ranks(table.arrow(_columns(table.columns, start)), events, asof.end, horizon, list(start)))
    ]  # fmt: skip
    if not parts:
        return dict(start) | dict(fixed)
    ranks = np.concatenate([part[0] for part in parts], 1)
    positive = np.concatenate([part[1] for part in parts])
    users = sum(part[2] for part in parts)
    return greedy(ranks, positive, users, list(start), fixed, n)


def greedy(
    ranks: Array, positive: Array, users: int, names: Sequence[str], fixed: Mapping[str, int], n: int
) -> dict[str, int]:
    """See `learned`.

    Args:
        ranks: int32 [channels, candidates], 1 = best, 0 = the channel did not rank it.
        positive: bool [candidates].
        users: how many users the candidates belong to.
        names: of the channels.
        fixed: quotas that are given.
        n: candidates of a user.
    """
    first = np.array([fixed.get(name, LEAST) for name in names])
    inside = ((ranks > 0) & (ranks <= first[:, None])).any(0)
    blocks = np.where(ranks > first[:, None], (ranks - first[:, None] - 1) // BLOCK, -1).astype(np.int16)
    last, taken = blocks.max(1, initial=-1), np.zeros(len(names), int)
    average = positive.mean() if len(positive) else 0.0
    free = [k for k, name in enumerate(names) if name not in fixed]
    while inside.sum() < n * users:
        worth = {}
        for k in free:
            if taken[k] <= last[k]:
                new = (blocks[k] == taken[k]) & ~inside
                worth[k] = (positive[new].sum() + PRIOR * average) / (new.sum() + PRIOR)
        if not worth:
            break
        best = max(worth, key=lambda k: worth[k])
        inside |= blocks[best] == taken[best]
        taken[best] += 1
    return {name: fixed.get(name, int(first[k] + BLOCK * taken[k])) for k, name in enumerate(names)}


def _columns(columns: list[str], names: Mapping[str, int]) -> list[str]:
    wanted = {USER, ITEM, REASON, *(stage_rank(name) for name in names)}
    return [name for name in columns if name in wanted]


def _ranks(
    flow: pa.Table, events: pa.Table, begin: datetime, horizon: timedelta, names: list[str]
) -> tuple[Array, Array, int] | None:
    """Ranks [channels, candidates], labels, and the number of users, of some users with a positive after ``begin``."""
    kind = events["event_time"].type
    inside = pc.and_(
        pc.greater_equal(events["event_time"], pa.scalar(begin).cast(kind)),
        pc.less(events["event_time"], pa.scalar(begin + horizon).cast(kind)),
    )
    wanted = events.filter(inside)
    users = pc.unique(wanted[USER]).sort()  # a few, the same whatever the order of the rows
    users = users.take(pa.array(np.linspace(0, len(users) - 1, min(len(users), USERS)).astype(int)))
    flow = flow.filter(pc.is_in(flow[USER], value_set=users)) if len(users) else flow.slice(0, 0)
    if REASON in flow.column_names:
        flow = flow.filter(pc.fill_null(pc.not_equal(flow[REASON], "not_eligible"), True))
    if not flow.num_rows:
        return None
    items = pc.unique(flow[ITEM]).sort()
    owner = codes(flow[USER], users).astype(np.int64)
    key = owner * len(items) + codes(flow[ITEM], items)
    user, item = codes(wanted[USER], users).astype(np.int64), codes(wanted[ITEM], items)
    good = np.unique((user * len(items) + item)[(user >= 0) & (item >= 0)])
    nothing = pa.nulls(flow.num_rows, pa.int32())
    ranks = [flow[stage_rank(name)] if stage_rank(name) in flow.column_names else nothing for name in names]
    matrix = np.stack([pc.fill_null(rank, 0).to_numpy().astype(np.int32) for rank in ranks])
    return matrix, np.isin(key, good), len(np.unique(owner))
