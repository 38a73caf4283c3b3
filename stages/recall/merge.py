"""The channels' proposals become one list of candidates per user."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from scipy import sparse

from narrows.candidates import best_first, place_in_run, positions
from narrows.columns import ITEM, REASON, USER, stage_rank, stage_score
from narrows.stage import Narrowed
from stages.recall.channel import Channel
from stages.recall.query import Array, Proposals, Query

OWN = "own"
RECALL_REASON = "recall_reason"
NOT_RANKED = "ranked"
"""The reason where no channel ranks the candidate, because it is not eligible."""
RRF_CONSTANT = 60


def merge(
    query: Query, channels: Mapping[str, Channel], proposals: Mapping[str, Proposals], quotas: Mapping[str, int], n: int,
    fresh: float, fresh_own: float, again: bool,
) -> Narrowed:  # fmt: skip
    """One row per (user, item) that any channel proposed, with every channel's score and rank.

    Kept is what some channel ranks within its quota among what is eligible, and of that the n best of the user by
    recall_score = own score + the sum over the other channels of 1 / (60 + rank) (reciprocal rank fusion, Cormack
    et al. 2009). Not eligible: an item last seen more than `fresh` horizons ago, or for the user's own items
    `fresh_own`; without `again` (a domain where nothing is taken twice) the user's own items as well.

    Args:
        query: the users and items that were asked for.
        channels: by name, in the order of the columns.
        proposals: of every channel.
        quotas: how many eligible candidates each channel may give.
        n: the most candidates that are kept of a user.
        fresh: see above.
        fresh_own: see above.
        again: whether users take an item again.

    Returns:
        Rows with `<channel>_score` f32, `<channel>_rank` i32, `recall_reason` string, `recall_score` f32 and
        `recall_rank` i32.
    """
    user, item, row = _pairs(list(proposals.values()), query.users.num_rows, len(query.ids))
    rows = np.split(row, np.cumsum([len(each.user) for each in proposals.values()])[:-1])

    own = query.had(user, item)
    age = query.age[item] / query.horizon
    eligible = np.where(own, age <= fresh_own, age <= fresh) & (again | ~own)
    within = np.zeros(len(user), bool)
    total = np.zeros(len(user), np.float32)
    ranks: dict[str, tuple[Array, Array]] = {}
    for (name, each), at in zip(proposals.items(), rows, strict=True):
        fits = eligible[at]
        where, score = at[fits], each.score[fits]
        rank = positions(each.user[fits], -score).astype(np.int32)
        within[where] |= rank <= quotas[name]
        total[where] += score if name == OWN else 1 / (RRF_CONSTANT + rank)
        ranks[name] = where, rank

    fits = eligible & within
    order = best_first(2 * user.astype(np.int64) + ~fits, total)  # equal ones stay in the order of the items
    user = user[order]
    place = place_in_run(user).astype(np.int32)
    kept = fits[order] & (place <= n)
    placed = np.concatenate([np.flatnonzero(kept), np.flatnonzero(~kept)])  # each row is written once, where it stays
    order, user, place = order[placed], user[placed], place[placed]
    to = np.empty(len(order), np.int64)
    to[order] = np.arange(len(order))
    columns: dict[str, pa.Array] = {}
    for (name, each), at in zip(proposals.items(), rows, strict=True):
        where, rank = ranks[name]
        columns[stage_score(name)] = _spread(to[at], each.score, len(user), pa.float32())
        columns[stage_rank(name)] = _spread(to[where], rank, len(user), pa.int32())
    columns[RECALL_REASON] = _reasons(channels, ranks, to)
    table = pa.table(
        {
            USER: query.users[USER].combine_chunks().take(pa.array(user)),
            ITEM: query.ids.take(pa.array(item[order])),
            **columns,
            stage_score("recall"): pa.array(total[order], pa.float32()),
            stage_rank("recall"): pa.array(place, pa.int32()),
        }
    )
    number = int(kept.sum())
    reason = pa.array(np.where(eligible[order[number:]], "quota", "not_eligible"), pa.string())
    return Narrowed(table.slice(0, number), table.slice(number).append_column(REASON, reason))


def _pairs(proposals: list[Proposals], users: int, items: int) -> tuple[Array, Array, Array]:
    """The distinct pairs of a user and an item, in their order, and of every proposal its pair's row.

    SciPy brings the entries of a sparse matrix into order by counting, which is less work than comparing pairs.
    """
    user, item = (np.concatenate([getattr(each, name) for each in proposals]) for name in ("user", "item"))
    matrix = sparse.coo_array((np.arange(len(user), dtype=np.int32), (user, item)), (users, items))
    matrix.has_canonical_format = True  # else equal pairs would be added up
    ordered = matrix.tocsc().tocsr()
    user, item = np.repeat(np.arange(users, dtype=np.int32), np.diff(ordered.indptr)), ordered.indices
    first = np.ones(len(user), bool)
    first[1:] = (user[1:] != user[:-1]) | (item[1:] != item[:-1])
    row = np.empty(len(user), np.int64)
    row[ordered.data] = np.cumsum(first) - 1
    return user[first], item[first], row


def _reasons(channels: Mapping[str, Channel], ranks: Mapping[str, tuple[Array, Array]], to: Array) -> pa.Array:
    """The reason of the channel that ranks each row best, at the row's place in ``to``; of equal ranks `own` comes first, then
    the first by name.
    """
    names = sorted(ranks, key=lambda name: (name != OWN, name))
    best = np.full(len(to), np.iinfo(np.int32).max, np.int32)
    code = np.full(len(to), len(names), np.int8 if len(names) < 127 else np.int32)
    for number, name in enumerate(names):
        at, rank = ranks[name]
        better = rank < best[at]
        best[at[better]], code[at[better]] = rank[better], number
    placed = np.empty_like(code)
    placed[to] = code
    return pa.array([*(channels[name].reason for name in names), NOT_RANKED], pa.string()).take(pa.array(placed))


def _spread(at: Array, values: Array, size: int, kind: pa.DataType) -> pa.Array:
    """`values` at the rows `at`, null elsewhere."""
    full = np.zeros(size, values.dtype)
    missing = np.ones(size, bool)
    full[at], missing[at] = values, False
    return pa.array(full, kind, mask=missing)
