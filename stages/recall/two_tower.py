"""The towers and the index of the `two_tower` channel."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
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
class Grown:
    """The items with a vector in a catalogue as it is now: those of the model, then those that came since."""

    items: pa.Array
    inputs: torch.Tensor
    """Of the towers: float32 [items, embedding_size]."""
    row: Array
    """Of each in the catalogue, -1 = not there any longer."""
    searchers: tuple[tuple[Searcher, int], ...]
    """The indexes, each with the number of items before it."""

    def search(self, queries: Array, n: int) -> tuple[Array, Array, Array]:
        """The n nearest of each index: row of the query, rising; row in the catalogue; score. See `Searcher.search`."""
        found = [(searcher.search(queries, n), start) for searcher, start in self.searchers]
        user = np.concatenate([part[0] for part, _ in found])
        item = np.concatenate([part[1] + start for part, start in found])
        score = np.concatenate([part[2] for part, _ in found])
        order = np.argsort(user, kind="stable") if len(found) > 1 else slice(None)
        return user[order], self.row[item[order]], score[order]


@dataclass(frozen=True)
class TwoTowerModel:
    """Items near the user's vector that the user did not have; score = inner product.

    An item that gets users enough after the fit has a vector by its category, subcategory and brand (`newcomers`), in an index
    of its own beside that of the model.
    """

    items: pa.Array
    """Ids of the items with a vector, string."""
    towers: Towers
    index: faiss.Index
    known: Known | None = None
    """None = no item gets a vector after the fit."""
    min_users: int = 1

    @cached_property
    def searcher(self) -> Searcher:
        """Of the index: for all shards that this process narrows."""
        return Searcher(self.index)

    @cached_property
    def inputs(self) -> torch.Tensor:
        """Of the towers, for all shards: float32 [items, embedding_size]."""
        with torch.inference_mode():
            return self.towers.inputs()

    def grown(self, query: Query) -> Grown:
        """For all shards of a catalogue."""
        catalogue, row = query.catalogue, codes(self.items, query.ids)
        own = Grown(self.items, self.inputs, row, ((self.searcher, 0),))
        if self.known is None:
            return own
        with torch.inference_mode():
            new, inputs, vectors = newcomers.newcomers(self.towers, self.items, self.known, catalogue, self.min_users)
        if not len(new):
            return own
        beside = Searcher(index.build(vectors.numpy(), "auto"))
        items = pa.concat_arrays([self.items, query.ids.take(pa.array(new)).cast(self.items.type)])
        parts = ((self.searcher, 0), (beside, len(self.items)))
        return Grown(items, torch.cat([self.inputs, inputs]), np.append(row, new), parts)

    def propose(self, query: Query, n: int) -> Proposals:
        """At most n items; none for a user without a known event."""
        if not self.index.ntotal:  # no item has users enough for a vector
            return Proposals.none()
        grown = query.catalogue.once("two_tower", lambda: self.grown(query), self)
        sequence = sequence_item(query.users, codes(flat(query.users, "sequence_item")[1], grown.items), LENGTH)
        ages = sequence_days(query.users, LENGTH) / np.float32(query.horizon)
        with torch.inference_mode():
            users = self.towers.users(grown.inputs, torch.from_numpy(sequence.astype(np.int64)), torch.from_numpy(ages))
        # many of the nearest the user had, and an index cannot leave them out
        user, item, score = grown.search(users.numpy(), 4 * n + 200)
        fresh = (item >= 0) & ~query.had(user, np.maximum(item, 0))
        return Proposals.best(user[fresh], item[fresh], score[fresh], n)

    def save(self, folder: Path) -> None:
        """Weights as safetensors, the index as a FAISS file, ids and names as Parquet, numbers as JSON."""
        save_file(self.towers.state_dict(), folder / "towers.safetensors")
        index.save(self.index, folder / "items.faiss")
        pq.write_table(pa.table({"item_id": self.items}), folder / "items.parquet")
        if self.known:
            pq.write_table(pa.table({"item_id": self.known.passed_over}), folder / "passed_over.parquet")
            for level, names in self.known.names.items():
                pq.write_table(pa.table({"name": names}), folder / f"{level}.parquet")
            numbers = {"line": self.known.line, "levels": list(self.known.names), "min_users": self.min_users}
            (folder / "known.json").write_text(json.dumps(numbers))


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
    known = newcomers.known(catalogue, chosen, channel.min_users)
    known = replace(known, line=newcomers.line_of(towers, catalogue, chosen))
    return TwoTowerModel(items, towers, index.build(vectors, channel.index), known, channel.min_users)


def load(folder: Path) -> TwoTowerModel:
    """What `TwoTowerModel.save` wrote."""
    state = load_file(folder / "towers.safetensors")
    towers = Towers(state["parts"], state["item_layer.weight"].shape[0])
    towers.load_state_dict(state)
    numbers = json.loads((folder / "known.json").read_text())
    names = {level: _column(folder / f"{level}.parquet") for level in numbers["levels"]}
    known = Known(names, _column(folder / "passed_over.parquet"), tuple(numbers["line"]))
    items = _column(folder / "items.parquet")
    return TwoTowerModel(items, towers, index.load(folder / "items.faiss"), known, numbers["min_users"])


def _column(file: Path) -> pa.Array:
    """The one column of a file."""
    return pq.read_table(file).column(0).combine_chunks()


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
