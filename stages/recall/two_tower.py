"""Channel: a two-tower model whose item vectors a FAISS index holds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file, save_file

from features.lookup import Catalogue, codes, flat
from stages.recall import index
from stages.recall.query import Array, Proposals, Query
from stages.recall.tower import TwoTower, train

LENGTH = 50


@dataclass(frozen=True)
class TwoTowerChannel:
    """Items near the user's vector that the user did not have; score = inner product."""

    items: pa.Array
    """Ids of the items with a vector, string."""
    model: TwoTower
    index: faiss.Index
    name: str = "two_tower"

    @classmethod
    def fit(
        cls, query: Query, events: pa.Table, end: datetime, kind: str, width: int, min_users: int,
        pairs: int, days: float, epochs: int, rate: float, batch: int, seed: int,
    ) -> TwoTowerChannel:  # fmt: skip
        """Learns from first purchases of the last `days` days: the latest events before that day -> the item."""
        buyers = np.bincount(query.history[query.history >= 0], minlength=len(query.ids))
        chosen = np.flatnonzero(buyers >= min_users)
        items = query.ids.take(pa.array(chosen))
        book = Catalogue(query.items)
        parts = [np.arange(1, len(chosen) + 1), *(book.code[name][chosen] + 1 for name in book.code)]
        torch.manual_seed(seed)
        model = TwoTower(torch.from_numpy(np.stack(parts, 1).astype(np.int64)), width)
        sequence, age, target = _firsts(events, items, end, days, pairs, seed)
        if len(target):
            train(model, sequence, age, target, epochs, rate, batch, seed)
        with torch.inference_mode():
            vectors = model.items(model.inputs()).numpy()
        return cls(items, model, index.build(vectors, kind))

    def propose(self, query: Query, n: int) -> Proposals:
        """At most n items; none for a user without a known event."""
        if not self.index.ntotal:  # no item has users enough for a vector
            none = np.empty(0, np.int64)
            return Proposals.best(none, none, none.astype(np.float32), n)
        offsets, names = flat(query.users, "sequence_item")
        item = codes(names, self.items)
        ages = flat(query.users, "sequence_days")[1].cast(pa.float32()).to_numpy(zero_copy_only=False)
        sequence, age = _pad(item, ages, offsets[:-1], offsets[1:])
        with torch.inference_mode():
            inputs = self.model.inputs()
            users = self.model.users(inputs, torch.from_numpy(sequence), torch.from_numpy(age)).numpy()
        code = codes(self.items, query.ids)
        user, found, score = index.search(index.on_device(self.index), users, 4 * n + 200)
        found = code[found]
        fresh = (found >= 0) & ~query.had(user, np.maximum(found, 0))
        return Proposals.best(user[fresh], found[fresh], score[fresh], n)

    def save(self, folder: Path) -> None:
        """Weights as safetensors, the index as a FAISS file, ids as Parquet."""
        save_file(self.model.state_dict(), folder / "two_tower.safetensors")
        index.save(self.index, folder / "two_tower.faiss")
        pq.write_table(pa.table({"item_id": self.items}), folder / "two_tower.parquet")

    @classmethod
    def load(cls, folder: Path) -> TwoTowerChannel:
        """What `save` wrote."""
        state = load_file(folder / "two_tower.safetensors")
        model = TwoTower(state["parts"], state["item_layer.weight"].shape[0])
        model.load_state_dict(state)
        items = pq.read_table(folder / "two_tower.parquet")["item_id"].combine_chunks()
        return cls(items, model, index.load(folder / "two_tower.faiss"))


def _pad(item: Array, age: Array, start: Array, stop: Array) -> tuple[Array, Array]:
    """The last LENGTH entries before `stop` of each row as [rows, LENGTH]; -1 and age 0 before the first."""
    place = stop[:, None] - np.arange(LENGTH, 0, -1)
    real = place >= start[:, None]
    place = np.where(real, place, 0)
    empty = not len(item)
    sequence = np.where(real, 0 if empty else item[place], -1).astype(np.int64)
    return sequence, np.where(real, 0 if empty else age[place], 0).astype(np.float32)


def _firsts(
    events: pa.Table, items: pa.Array, end: datetime, days: float, pairs: int, seed: int
) -> tuple[Array, Array, Array]:
    """Up to `pairs` first purchases: (latest item codes before their day, ages at its start, item code)."""
    moment = pc.cast(events["event_time"], pa.timestamp("us")).combine_chunks().cast(pa.int64()).to_numpy()
    age = (int(end.timestamp() * 1e6) - moment) / 86_400e6
    users = events["user_id"].combine_chunks()
    user = codes(users, users.unique())
    item = codes(events["item_id"], items)
    known = (item >= 0) & (age > 0)
    user, item, age = user[known], item[known], age[known]
    order = np.lexsort((item, -age, user))
    user, item, age = user[order], item[order], age[order]
    day = np.ceil(age)
    visit = np.cumsum((np.diff(user, prepend=-1) != 0) | (np.diff(day, prepend=-1) != 0))
    visit_start = np.searchsorted(visit, visit)
    user_start = np.searchsorted(user, user)
    first = np.zeros(len(item), bool)
    first[np.unique(user.astype(np.int64) * len(items) + item, return_index=True)[1]] = True
    rows = np.flatnonzero(first & (age <= days) & (visit_start > user_start))
    rows = np.sort(np.random.default_rng(seed).permutation(rows)[:pairs])
    sequence, ages = _pad(item, age, user_start[rows], visit_start[rows])
    return sequence, np.where(sequence >= 0, ages - day[rows, None], 0).astype(np.float32), item[rows].astype(np.int64)
