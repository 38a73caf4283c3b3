"""How many candidates each channel may give: learned from what its ranks were worth at earlier as-ofs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.lookup import Array, codes
from narrows.columns import EVENT_TIME, ITEM, REASON, USER, stage_rank
from narrows.engine.undo import positives
from narrows.stage import Past, Table

BLOCK = 10
"""Ranks of a channel that are taken or left together."""
LEAST = 10
"""No channel falls below: what it finds must stay visible, so that a later run can give it more."""
USERS = 2000
"""Users of an as-of whose candidates are looked at."""
NOT_ELIGIBLE = "not_eligible"
PRIOR = 200.0
"""Candidates of the average worth that every block is believed to have beside its own: damps chance."""


@dataclass(frozen=True)
class Seen:
    """What the channels ranked for some users of an earlier as-of, and what these took in the horizon after it."""

    ranks: Array
    """int32 [channels, candidates], 1 = best, 0 = the channel did not rank it."""
    positive: Array
    """bool [candidates]."""
    users: int


def learned(
    seen: Sequence[Seen], start: Mapping[str, int], fixed: Mapping[str, int], n: int, enough: float
) -> dict[str, int]:
    """The quota of every channel, so that a user has at most about ``n`` candidates with as many positives as can be.

    Greedy by marginal gain: again and again the channel is given ten ranks more whose candidates, those that are in already
    left out, hold the most positives per candidate; until there are ``n``, or ``enough`` of the positives are in.

    Args:
        seen: of earlier as-ofs, channels in the order of ``start``; without any the quotas are those of the ``start``.
        start: quotas where nothing can be learned, as there is no positive; of all channels.
        fixed: quotas that a setting fixes.
        n: candidates of a user.
        enough: share of the positives that the channels rank.
    """
    if not any(each.positive.any() for each in seen):
        return dict(start) | dict(fixed)
    ranks = np.concatenate([each.ranks for each in seen], 1)
    positive = np.concatenate([each.positive for each in seen])
    return greedy(ranks, positive, sum(each.users for each in seen), list(start), fixed, n, enough)


def greedy(
    ranks: Array,
    positive: Array,
    users: int,
    names: Sequence[str],
    fixed: Mapping[str, int],
    n: int,
    enough: float = 1.0,
) -> dict[str, int]:
    """See `learned`.

    Args:
        ranks: int32 [channels, candidates], 1 = best, 0 = the channel did not rank it.
        positive: bool [candidates].
        users: how many users the candidates belong to.
        names: of the channels.
        fixed: quotas that are given.
        n: candidates of a user.
        enough: share of the positives.
    """
    first = np.array([fixed.get(name, LEAST) for name in names])
    inside = np.asarray(((ranks > 0) & (ranks <= first[:, None])).any(0))
    blocks = np.where(ranks > first[:, None], (ranks - first[:, None] - 1) // BLOCK, -1).astype(np.int16)
    last, taken = blocks.max(1, initial=-1), np.zeros(len(names), int)
    average = positive.mean() if len(positive) else 0.0
    free = [k for k, name in enumerate(names) if name not in fixed]
    rows = {k: _by_block(blocks[k], int(last[k])) for k in free if last[k] >= 0}
    while inside.sum() < n * users and positive[inside].sum() < enough * positive.sum():
        worth = {}
        for k in free:
            if taken[k] <= last[k]:
                at = rows[k][taken[k]]
                new = at[~inside[at]]
                worth[k] = (positive[new].sum() + PRIOR * average) / (len(new) + PRIOR)
        if not worth:
            break
        best = max(worth, key=lambda k: worth[k])
        inside[rows[best][taken[best]]] = True
        taken[best] += 1
    return {name: fixed.get(name, int(first[k] + BLOCK * taken[k])) for k, name in enumerate(names)}


def _by_block(block: Array, last: int) -> list[Array]:
    """The rows of each block from 0 to the last: int64 arrays."""
    ranked = np.flatnonzero(block >= 0)
    rows = ranked[np.argsort(block[ranked], kind="stable")]
    return np.split(rows, np.searchsorted(block[rows], np.arange(1, last + 1)))


def read(flows: Past, events: Table, horizon: timedelta, names: Sequence[str]) -> list[Seen]:
    """What was seen at the as-ofs of recall's earlier tables, for at most 2,000 users of each.

    Args:
        flows: recall's tables.
        events: what is known now: positives of the horizons after those as-ofs.
        horizon: of the labels.
        names: of the channels.
    """
    found = (_seen(table, events, asof.end, horizon, names) for asof, table in flows.items())
    return [seen for seen in found if seen]


def _seen(table: Table, events: Table, begin: datetime, horizon: timedelta, names: Sequence[str]) -> Seen | None:
    time = pc.field(EVENT_TIME)
    first, last = (pa.scalar(instant, pa.timestamp("us", "UTC")) for instant in (begin, begin + horizon))
    wanted = positives(events, [USER, ITEM], (time >= first) & (time < last))
    if table.requests is not None:
        sample = table.requests.arrow([USER])[USER].combine_chunks()
        wanted = wanted.filter(pc.is_in(wanted[USER], value_set=sample))
    users = pc.unique(wanted[USER]).sort()  # a few, the same whatever the order of the rows
    users = users.take(pa.array(np.linspace(0, len(users) - 1, min(len(users), USERS)).astype(int)))
    columns = {USER, ITEM, REASON, *(stage_rank(name) for name in names)}
    flow = table.arrow([name for name in table.columns if name in columns], pc.field(USER).isin(users))
    flow = flow.filter(pc.fill_null(pc.not_equal(flow[REASON], NOT_ELIGIBLE), True))
    if not flow.num_rows:
        return None
    items = pc.unique(flow[ITEM]).sort()
    owner = codes(flow[USER], users).astype(np.int64)
    key = owner * len(items) + codes(flow[ITEM], items)
    user, item = codes(wanted[USER], users).astype(np.int64), codes(wanted[ITEM], items)
    good = np.unique((user * len(items) + item)[(user >= 0) & (item >= 0)])
    nothing = pa.chunked_array([pa.nulls(flow.num_rows, pa.int32())])
    ranks = [flow[stage_rank(name)] if stage_rank(name) in flow.column_names else nothing for name in names]
    matrix = np.stack([pc.fill_null(rank, 0).to_numpy().astype(np.int32) for rank in ranks])
    return Seen(matrix, np.isin(key, good), len(np.unique(owner)))
