"""The item similarities of the `item_to_item` channel."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import sparse

from features.lookup import codes
from stages.recall.channels.item_to_item import ItemToItem
from stages.recall.query import Proposals, Query

FIT_HISTORY = 200
"""Newest items of a user that the similarities are counted from: the work grows with the square of a history."""


@dataclass(frozen=True)
class ItemToItemModel:
    """Cosine of items over users with BM25-like weights (Robertson & Zaragoza 2009, eq. 3.15, b = 1, k1 -> inf).

    similarity(i, j) = sum_u x_ui x_uj / ((|x_i| |x_j|) + shrink), x_ui = log(1 + decayed count) / sqrt(size of u's
    history). A user's score of j is the sum over the `recent` newest items i of
    0.5^(age in horizons / recent_half_life) similarity(i, j).
    """

    channel: ItemToItem
    items: pa.Array
    """Ids of the items with neighbours, string."""
    neighbours: sparse.csr_matrix
    """items x items, float32: the similarities of each row's nearest."""

    def propose(self, query: Query, n: int) -> Proposals:
        """At most n items that the user did not have; none for a user without a known history."""
        code = query.catalogue.once("item_to_item", lambda: codes(self.items, query.ids), self)
        row_of_code = np.full(len(query.ids) + 1, -1)
        row_of_code[code] = np.arange(len(code))
        row_of_code[-1] = -1
        place = np.arange(len(query.owner)) - query.offsets[query.owner]
        row = row_of_code[query.history]
        use = (place < self.channel.recent) & (row >= 0)
        weight = 0.5 ** (query.of_history("last_days")[use] / (self.channel.recent_half_life * query.horizon))
        shape = (query.users.num_rows, len(self.items))
        recent = sparse.csr_matrix((weight.astype(np.float32), (query.owner[use], row[use])), shape)
        score = (recent @ self.neighbours).tocoo()
        item = code[score.col]
        fresh = (item >= 0) & ~query.had(score.row, np.maximum(item, 0))
        return Proposals.best(score.row[fresh], item[fresh], score.data[fresh], n)

    def save(self, folder: Path) -> None:
        """Ids as Parquet, similarities as npz."""
        pq.write_table(pa.table({"item_id": self.items}), folder / "items.parquet")
        sparse.save_npz(folder / "neighbours.npz", self.neighbours, compressed=False)


def fit(channel: ItemToItem, query: Query) -> ItemToItemModel:
    """The nearest items of every item that at least `min_users` of the users had."""
    known = query.history >= 0
    user, item, count = query.owner[known], query.history[known], query.of_history("decayed_16x")[known]
    chosen = np.flatnonzero(np.bincount(item, minlength=len(query.ids)) >= channel.min_users)
    compact = np.full(len(query.ids), -1)
    compact[chosen] = np.arange(len(chosen))
    newest = (np.arange(len(query.owner)) - query.offsets[query.owner])[known] < FIT_HISTORY
    use = newest & (compact[item] >= 0)
    user, item = user[use], compact[item[use]]
    size = np.bincount(user, minlength=query.users.num_rows)
    value = (np.log1p(count[use]) / np.sqrt(size[user])).astype(np.float32)
    x = sparse.csr_matrix((value, (user, item)), (query.users.num_rows, len(chosen)))
    near = _nearest(x, channel.neighbours, channel.shrink)
    return ItemToItemModel(channel, query.ids.take(pa.array(chosen)), near)


def load(channel: ItemToItem, folder: Path) -> ItemToItemModel:
    """What `ItemToItemModel.save` wrote."""
    items = pq.read_table(folder / "items.parquet")["item_id"].combine_chunks()
    return ItemToItemModel(channel, items, sparse.load_npz(folder / "neighbours.npz"))


def _nearest(x: sparse.csr_matrix, n: int, shrink: float) -> sparse.csr_matrix:
    """Rows of the n largest similarities, an item's own left out; users x items in, items x items out."""
    size = x.shape[1]
    n = min(n, size - 1)
    if n < 1:
        return sparse.csr_matrix((size, size), dtype=np.float32)
    norm = np.sqrt(np.bincount(x.indices, x.data.astype(np.float64) ** 2, minlength=size)).astype(np.float32)
    by_item = x.T.tocsr()
    columns, values = np.empty((size, n), np.int32), np.empty((size, n), np.float32)
    for start in range(0, size, 512):  # a block at a time bounds the memory
        rows = np.arange(start, min(start + 512, size))
        block = (by_item[rows] @ x).toarray() / (np.outer(norm[rows], norm) + np.float32(shrink))
        block[np.arange(len(rows)), rows] = -1
        best = np.argpartition(-block, n - 1, axis=1)[:, :n]
        columns[rows], values[rows] = best, np.take_along_axis(block, best, 1)
    values[values < 0] = 0
    near = sparse.csr_matrix((values.ravel(), columns.ravel(), np.arange(0, size * n + 1, n)), (size, size))
    near.eliminate_zeros()
    return near
