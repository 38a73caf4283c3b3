"""Mass selection: the channels' proposals become one list of candidates per user."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from narrows.columns import ITEM, REASON, USER, stage_rank, stage_score
from narrows.stage import Narrowed
from stages.recall.query import Array, Proposals, Query, position

OWN = "own"


def merge(
    query: Query, proposed: dict[str, Proposals], quotas: dict[str, int], n: int,
    fresh_days: float, history_days: float, again: bool,
) -> Narrowed:  # fmt: skip
    """One row per (user, item) that any channel proposed, with every channel's score and rank.

    Kept is what some channel ranks within its quota among what is eligible, and of that the n best of the user by
    recall_score = own score + the sum over the other channels of 1 / (60 + rank) (reciprocal rank fusion, Cormack
    et al. 2009). Not eligible: an item last seen more than `fresh_days` days ago, or for the user's own items
    `history_days` days; without `again` (a domain where nothing is taken twice) the user's own items as well.
    """
    width = len(query.ids)
    keys = [p.user.astype(np.int64) * width + p.item for p in proposed.values()]
    pair, row = np.unique(np.concatenate(keys), return_inverse=True)
    rows = np.split(row, np.cumsum([len(key) for key in keys])[:-1])
    user, item = (pair // max(width, 1)).astype(np.int32), (pair % max(width, 1)).astype(np.int32)

    own = query.had(user, item)
    eligible = np.where(own, query.age[item] <= history_days, query.age[item] <= fresh_days) & (again | ~own)
    columns: dict[str, pa.Array] = {}
    within = np.zeros(len(pair), bool)
    total = np.zeros(len(pair), np.float32)
    for (name, proposals), at in zip(proposed.items(), rows, strict=True):
        fits = eligible[at]
        rank = np.zeros(len(at), np.int32)
        rank[fits] = position(proposals.user[fits]) + 1
        within[at[fits]] |= rank[fits] <= quotas[name]
        total[at[fits]] += proposals.score[fits] if name == OWN else 1 / (60 + rank[fits])
        columns[stage_score(name)] = _spread(at, proposals.score, len(pair), pa.float32())
        columns[stage_rank(name)] = _spread(at[fits], rank[fits], len(pair), pa.int32())

    order = np.lexsort((item, -total, ~(eligible & within), user))
    user, item, total = user[order], item[order], total[order]
    eligible, within = eligible[order], within[order]
    place = (position(user) + 1).astype(np.int32)
    kept = eligible & within & (place <= n)
    table = pa.table(
        {
            USER: query.users[USER].combine_chunks().take(pa.array(user)),
            ITEM: query.ids.take(pa.array(item)),
            **{name: column.take(pa.array(order)) for name, column in columns.items()},
            stage_score("recall"): pa.array(total, pa.float32()),
            stage_rank("recall"): pa.array(place, pa.int32()),
        }
    )
    reason = pa.array(np.where(eligible, "quota", "not_eligible")[~kept], pa.string())
    return Narrowed(table.filter(pa.array(kept)), table.filter(pa.array(~kept)).append_column(REASON, reason))


def _spread(at: Array, values: Array, size: int, kind: pa.DataType) -> pa.Array:
    """`values` at the rows `at`, null elsewhere."""
    full = np.zeros(size, values.dtype)
    missing = np.ones(size, bool)
    full[at], missing[at] = values, False
    return pa.array(full, kind, mask=missing)
