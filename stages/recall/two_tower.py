"""The towers and the index of the `two_tower` channel."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file, save_file

from features.lookup import codes, flat
from features.sequence import pad, sequence_days, sequence_item
from stages.recall import index, newcomers
from stages.recall.channels.two_tower import TwoTower
from stages.recall.index import Searcher
from stages.recall.network import Towers, train
from stages.recall.newcomers import Known
from stages.recall.query import Array, Proposals, Query

LENGTH = 50
"""Latest events of a user that the user tower reads."""


@dataclass(frozen=True)
class Searched:
    """The items with a vector in a catalogue as it is now: the model's, then those that came since."""

    items: pa.Array
    """Ids, string."""
    inputs: torch.Tensor
    """Of the towers: float32 [items, embedding_size]."""
    row: Array
    """Of each in the catalogue, -1 = not there any longer."""
    searchers: tuple[Searcher, ...]
    """Of the model's index, and of that of the items that came since."""

    def search(self, queries: Array, n: int) -> tuple[Array, Array, Array]:
        """The n nearest in each index: row of the query, rising; row in the catalogue; score. See `Searcher.search`."""
        found, before = [], 0
        for searcher in self.searchers:
            user, item, score = searcher.search(queries, n)
            found.append((user, item + before, score))
            before += searcher.index.ntotal
        user, item, score = found[0] if len(found) == 1 else map(np.concatenate, zip(*found, strict=True))
        order = np.argsort(user, kind="stable") if len(found) > 1 else slice(None)
        return user[order], self.row[item[order]], score[order]


@dataclass(frozen=True)
class TwoTowerModel:
    """Items near the user's vector that the user did not have; score = inner product.

    Between two fits an item that gets users enough has a vector by its category, subcategory and brand (`newcomers`), in an index
    beside that of the model.
    """

    items: pa.Array
    """Ids of the items with a vector, string."""
    towers: Towers
    index: faiss.Index
    known: Known

    @cached_property
    def searcher(self) -> Searcher:
        """Of the index: for all shards that this process narrows."""
        return Searcher(self.index)

    @cached_property
    def inputs(self) -> torch.Tensor:
        """Of the towers, for all shards: float32 [items, embedding_size]."""
        with torch.inference_mode():
            return self.towers.inputs()

    def searched(self, query: Query) -> Searched:
        """For all shards of a catalogue."""
        catalogue, row = query.catalogue, codes(self.items, query.ids)
        own = Searched(self.items, self.inputs, row, (self.searcher,))
        if not query.between_fits:
            return own
        with torch.inference_mode():
            new, inputs, vectors = newcomers.newcomers(self.towers, self.items, self.known, catalogue)
        if not len(new):
            return own
        items = pa.concat_arrays([self.items, query.ids.take(pa.array(new)).cast(self.items.type)])
        beside = Searcher(index.build(vectors.numpy(), "auto"))
        return Searched(items, torch.cat([self.inputs, inputs]), np.append(row, new), (self.searcher, beside))

    def propose(self, query: Query, n: int) -> Proposals:
        """At most n items; none for a user without a known event."""
        if not self.index.ntotal:  # no item has users enough for a vector
            return Proposals.none()
        searched = query.catalogue.once("two_tower", lambda: self.searched(query), self)
        sequence = sequence_item(query.users, codes(flat(query.users, "sequence_item")[1], searched.items), LENGTH)
        ages = sequence_days(query.users, LENGTH) / np.float32(query.horizon)
        latest = torch.from_numpy(sequence.astype(np.int64))
        with torch.inference_mode():
            users = self.towers.users(searched.inputs, latest, torch.from_numpy(ages))
        # many of the nearest the user had, and an index cannot leave them out
        depth = min(4 * n + 200, n + int(np.diff(query.offsets).max(initial=0)))
        user, item, score = searched.search(users.numpy(), depth)
        fresh = (item >= 0) & ~query.had(user, np.maximum(item, 0))
        return Proposals.best(user[fresh], item[fresh], score[fresh], n)

    def save(self, folder: Path) -> None:
        """Weights as safetensors, the index as a FAISS file, ids as Parquet; and what is known of items."""
        save_file(self.towers.state_dict(), folder / "towers.safetensors")
        index.save(self.index, folder / "items.faiss")
        pq.write_table(pa.table({"item_id": self.items}), folder / "items.parquet")
        self.known.save(folder)


def fit(channel: TwoTower, query: Query, events: pa.Table, end: datetime) -> TwoTowerModel:
    """Learns from users' first purchases of an item: the latest events before that visit -> the item."""
    users = np.bincount(query.history[query.history >= 0], minlength=len(query.ids))
    chosen = np.flatnonzero(users >= channel.min_users)
    items = query.ids.take(pa.array(chosen))
    catalogue = query.catalogue
    parts = [np.arange(1, len(chosen) + 1), *(code[chosen] + 1 for code in catalogue.code.values())]
    torch.manual_seed(channel.seed)
    towers = Towers(torch.from_numpy(np.stack(parts, 1).astype(np.int64)), channel.embedding_size)
    sequence, age, target = _first_purchases(channel, query, events, items, end)
    if len(target):
        train(
            towers, sequence, age, target,
            channel.epochs, channel.learning_rate, channel.batch, channel.seed,
        )  # fmt: skip
    with torch.inference_mode():
        vectors = towers.items(towers.inputs()).numpy()
    known = newcomers.known(towers, catalogue, chosen, channel.min_users)
    return TwoTowerModel(items, towers, index.build(vectors, channel.index), known)


def load(folder: Path) -> TwoTowerModel:
    """What `TwoTowerModel.save` wrote."""
    state = load_file(folder / "towers.safetensors")
    towers = Towers(state["parts"], state["item_layer.weight"].shape[0])
    towers.load_state_dict(state)
    items = pq.read_table(folder / "items.parquet")["item_id"].combine_chunks()
    return TwoTowerModel(items, towers, index.load(folder / "items.faiss"), newcomers.load(folder))


def _first_purchases(
    channel: TwoTower, query: Query, events: pa.Table, items: pa.Array, end: datetime
) -> tuple[Array, Array, Array]:
    """Up to `pairs` of the last `train` horizons.

    Returns:
        The latest item codes before the purchase's visit, int64 [rows, LENGTH], -1 where there are fewer; their ages at
        the start of that visit, in horizons, float32 [rows, LENGTH]; the item's code, int64 [rows].
    """
    moment = pc.cast(events["event_time"], pa.timestamp("us")).combine_chunks().cast(pa.int64()).to_numpy()
    age = (int(end.timestamp() * 1e6) - moment) / (86_400e6 * query.horizon)
    length = query.visit / query.horizon
    users = events["user_id"].combine_chunks()
    user = codes(users, users.unique())
    item = codes(events["item_id"], items)
    known = (item >= 0) & (age > 0)
    user, item, age = user[known], item[known], age[known]
    order = np.lexsort((item, -age, user))
    user, item, age = user[order], item[order], age[order]
    begin = np.ceil(age / length)
    visit = np.cumsum((np.diff(user, prepend=-1) != 0) | (np.diff(begin, prepend=-1) != 0))
    visit_start = np.searchsorted(visit, visit)
    user_start = np.searchsorted(user, user)
    first = np.zeros(len(item), bool)
    first[np.unique(user.astype(np.int64) * len(items) + item, return_index=True)[1]] = True
    rows = np.flatnonzero(first & (age <= channel.train) & (visit_start > user_start))
    rows = np.sort(np.random.default_rng(channel.seed).permutation(rows)[: channel.pairs])
    start, stop = user_start[rows], visit_start[rows]
    sequence = pad(item, start, stop, LENGTH, -1).astype(np.int64)
    ages = pad(age, start, stop, LENGTH, 0).astype(np.float32)
    ages = np.where(sequence >= 0, ages - begin[rows, None] * length, 0).astype(np.float32)
    return sequence, ages, item[rows].astype(np.int64)
