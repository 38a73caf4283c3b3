"""Rows of the narrowing rooms' tables as arrays: keys of pairs, ranks and scores, how far each came, and the sample of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from narrows.codesign.log import Array
from narrows.columns import ITEM, KEPT, RANK, REQUEST_WEIGHT, USER, stage_rank, stage_score
from narrows.sampling import uniform

if TYPE_CHECKING:
    from narrows.store.table import Table


def channels_of(table: Table | None, stages: Sequence[str]) -> tuple[str, ...]:
    """The channels whose ranks the first narrowing room's table has."""
    assert table is not None
    of_stages = {RANK, *map(stage_rank, stages)}
    ending = stage_rank("")
    return tuple(name.removesuffix(ending) for name in table.columns if name.endswith(ending) and name not in of_stages)


def channel_ranks(offered: pa.Table, channels: Sequence[str]) -> Array:
    """int32 [rows, channels]: 0 = the channel did not rank the candidate."""
    nothing = pa.chunked_array([pa.nulls(offered.num_rows, pa.int32())])
    there = [offered[stage_rank(name)] if stage_rank(name) in offered.column_names else nothing for name in channels]
    ranks = [pc.fill_null(each, 0).to_numpy().astype(np.int32) for each in there]
    return np.stack(ranks, 1) if ranks else np.zeros((offered.num_rows, 0), np.int32)


@dataclass(frozen=True)
class Keys:
    """A user and an item as one number."""

    users: pa.Array
    ids: pa.Array

    @property
    def items(self) -> int:
        return len(self.ids)

    def items_of(self, ids: pa.Array) -> Array:
        from features.lookup import codes

        return codes(ids, self.ids)

    def of(self, rows: pa.Table) -> Array:
        """int64 [rows]; -1 where the user or the item is unknown."""
        from features.lookup import codes

        user, item = codes(rows[USER], self.users).astype(np.int64), self.items_of(rows[ITEM])
        return np.where((user >= 0) & (item >= 0), user * self.items + item, -1)


def in_order(offered: pa.Table, profiles: pa.Table, ids: pa.Array) -> pa.Table:
    """Candidates grouped by user in the order of the profiles, each user's by item."""
    key = Keys(profiles[USER].combine_chunks(), ids).of(offered)
    return offered.take(pa.array(np.argsort(key, kind="stable")))


def fill(table: pa.Table, name: str, at: Array, score: Array, rank: Array) -> None:
    """Write a room's scores and ranks to the places of its rows."""
    if stage_score(name) in table.column_names:
        score[at] = table[stage_score(name)].to_numpy()
    ranks = next((column for column in (stage_rank(name), RANK) if column in table.column_names), None)
    if ranks:
        rank[at] = pc.fill_null(table[ranks], 0).to_numpy()


def passed(
    table: Table, name: str, keys: Keys, key: Array, reached: Array, stage: int, score: Array, rank: Array
) -> None:  # fmt: skip
    """What a later room did: who passed it, its scores and ranks."""
    wanted = [name for name in (stage_score(name), stage_rank(name), RANK) if name in table.columns]
    sampled = pc.field(REQUEST_WEIGHT).is_valid() if REQUEST_WEIGHT in table.columns else None
    rows = table.arrow([USER, ITEM, KEPT, *wanted], sampled)
    of_row = keys.of(rows)
    at = np.minimum(np.searchsorted(key, of_row), len(key) - 1)
    mine = key[at] == of_row
    kept = rows[KEPT].to_numpy(zero_copy_only=False)
    reached[at[mine & kept]] = stage + 1
    fill(rows.filter(pa.array(mine)), name, at[mine], score, rank)


def drawn(offered: pa.Table, user: Array, reached: Array, candidates: int) -> tuple[Array, Array]:
    """The rows of a sample, in order, and the inverse of the probability of each.

    Each group of a request that came equally far has the same part of the places, as far as it has candidates.
    """
    if not candidates:
        return np.arange(len(user)), np.ones(len(user), np.float32)
    groups = int(reached.max(initial=1)) + 1
    cell = user * groups + reached
    count = np.bincount(cell, minlength=(int(user.max(initial=0)) + 1) * groups)
    part = -(-candidates // np.maximum((count.reshape(-1, groups) > 0).sum(1), 1))
    texts = pc.binary_join_element_wise(offered[USER].cast(pa.string()), offered[ITEM].cast(pa.string()), "|")
    order = np.lexsort((uniform(texts.to_pylist(), "flow log"), cell))
    place = np.arange(len(cell)) - (np.cumsum(count) - count)[cell[order]]
    chosen = np.sort(order[place < part[user[order]]])
    weight = np.maximum(count[cell] / part[user], 1)[chosen].astype(np.float32)
    return chosen, weight
