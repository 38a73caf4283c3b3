"""Pins: eligible items that take a position of a list, whether or not an earlier stage proposed them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from narrows.columns import ITEM, USER
from narrows.stage import Shard
from stages.rerank.diversity import Codes
from stages.rerank.matrices import Matrices, blocked
from stages.rerank.policy import Policy


def choose(policy: Policy, shard: Shard, n: int, scene: str) -> Codes | None:
    """The item pinned at each position of each user's list.

    An item is eligible if the catalogue has it and the policy does not block it. Of two pins for one position the
    later in the file wins; of two positions for one item too.

    Returns:
        (users of the shard, n) rows of the item table, -1 = none; None where no pin is for this scene.
    """
    wanted = [pin for pin in policy.pins if pin.scene in ("", scene) and pin.position <= n]
    if not wanted:
        return None
    catalogue = shard.items[ITEM].combine_chunks()
    never = blocked(policy, shard.items, np.arange(len(catalogue), dtype=np.int32)[None, :])[0]
    segment = np.full(shard.users.num_rows, "", object)
    if "segment" in shard.users.column_names:
        segment = pc.fill_null(shard.users["segment"].cast(pa.string()), "").to_numpy(zero_copy_only=False)
    chosen = np.full((shard.users.num_rows, n), -1, np.int32)
    for pin in wanted:
        item = pc.index(catalogue, pa.scalar(pin.item, catalogue.type)).as_py()
        if item < 0 or never[item]:
            continue
        users = np.flatnonzero(segment == pin.segment) if pin.segment else np.arange(len(chosen))
        chosen[users] = np.where(chosen[users] == item, -1, chosen[users])
        chosen[users, pin.position - 1] = item
    return chosen


def propose(shard: Shard, chosen: Codes) -> Shard:
    """The shard with one more candidate for every pinned item that no earlier stage proposed to its user.

    The new rows follow the received ones; they have null in every column but ``user_id`` and ``item_id``.
    """
    candidates = shard.candidates
    assert candidates is not None
    users, items = shard.users[USER].combine_chunks(), shard.items[ITEM].combine_chunks()
    row, position = np.nonzero(chosen >= 0)
    item = chosen[row, position]
    known = _codes(candidates[USER], users) * len(items) + _codes(candidates[ITEM], items)
    missing = ~np.isin(row * len(items) + item, known)
    columns = {
        USER: users.take(pa.array(row[missing])).cast(candidates.schema.field(USER).type),
        ITEM: items.take(pa.array(item[missing])).cast(candidates.schema.field(ITEM).type),
    }
    rows = [columns.get(field.name, pa.nulls(int(missing.sum()), field.type)) for field in candidates.schema]
    return replace(shard, candidates=pa.concat_tables([candidates, pa.table(rows, names=candidates.column_names)]))


def columns(chosen: Codes, shard: Shard, matrices: Matrices) -> Codes:
    """The column of each pinned item: (users of the matrices, n), -1 = none."""
    row = _codes(pa.chunked_array([pa.array(matrices.users, pa.string())]), shard.users[USER].combine_chunks())
    pinned = np.full((len(row), chosen.shape[1]), -1, np.int32)
    for position in range(chosen.shape[1]):
        item = chosen[row, position]
        users = np.flatnonzero((item >= 0) & (row >= 0))
        if len(users):
            pinned[users, position] = (matrices.item[users] == item[users, None]).argmax(axis=1)
    return pinned


def _codes(values: pa.ChunkedArray, vocabulary: pa.Array) -> np.ndarray:
    """The position of each value in ``vocabulary`` as int64 (rows,), -1 where it is not there."""
    return pc.fill_null(pc.index_in(values.cast(vocabulary.type), value_set=vocabulary), -1).to_numpy().astype(np.int64)
