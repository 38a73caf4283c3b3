"""What the `new_items` channel learned, and how it proposes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy import sparse

from features.lookup import codes, flat
from stages.recall.channels.new_items import NewItems
from stages.recall.new_demand import NewDemand, learn
from stages.recall.query import Array, Proposals, Query

LEVELS = ("brand", "category", "subcategory")
"""Kinds of items, the coarsest first."""
STRENGTHS = tuple(2.0**k for k in range(11))
"""Visits that a user's prior may count for."""
MOST = 1000
"""New items, those most wanted, that users choose among."""
BLOCK = 1024
"""Users scored at once; bounds the memory."""
TIE = 1e-3
"""What the last of the items has less, relatively, than without ties."""


@dataclass(frozen=True)
class Liking:
    """How much more than others a user likes each kind of a level.

    The lift of a kind g, its share of the user's history over that of everybody's, is (w_g / p_g + k b) / (w + k): w_g the decayed
    visits with g (a half-life of 16 horizons), w their sum over the kinds, p_g the share of all users, b the lift of the item's
    kind a level coarser. So a user counts as everybody until k visits say otherwise: 1 for a user without a history. k is that
    under which the users' visits, each left out in turn, are likeliest (Zhai & Lafferty 2002, eq. 9).
    """

    level: str
    names: pa.Array
    share: Array
    """p, float64 (names,)."""
    strength: float
    """k."""


@dataclass(frozen=True)
class NewItemsModel:
    """New items that the user did not have; score = expected users of the item (`NewDemand`) x the user's `Liking`."""

    within: float
    """Horizons for which an item is new."""
    demand: NewDemand
    likings: Sequence[Liking]

    def propose(self, query: Query, n: int) -> Proposals:
        """At most n items of each user; of items that are wanted alike the newest first."""
        new = np.flatnonzero(query.born <= self.within * query.horizon)
        if not len(new) or n < 1:
            return Proposals.none()
        wanted = self.demand.of(query, new)
        order = np.lexsort((new, query.born[new], -wanted))[:MOST]
        new, wanted = new[order], wanted[order] * np.linspace(1, 1 - TIE, len(order))
        weights = [weight for each in self.likings if (weight := _weights(each, query, new))]
        had, blocks = query.seen[:, new], [Proposals.none()]
        for start in range(0, query.users.num_rows, BLOCK):
            some = slice(start, start + BLOCK)
            score = np.ones((min(BLOCK, query.users.num_rows - start), len(new)), np.float32)
            for weight in weights:
                weight.lift(score, some)
            score *= wanted.astype(np.float32)
            score[had[some].nonzero()] = 0
            blocks.append(_best(score, new, n, start))
        return Proposals(*(np.concatenate([getattr(b, part) for b in blocks]) for part in ("user", "item", "score")))

    def save(self, folder: Path) -> None:
        """Numbers as npz, names as JSON."""
        demand = self.demand
        names = {"categories": demand.categories.to_pylist()}
        names |= {each.level: each.names.to_pylist() for each in self.likings}
        content = {
            "within": self.within,
            "names": names,
            "strength": {each.level: each.strength for each in self.likings},
        }
        (folder / "new_items.json").write_text(json.dumps(content))
        np.savez(
            folder / "new_items.npz", ends=demand.ends, demand=demand.demand, first=demand.first, spread=demand.spread,
            step=demand.step, **{f"share_{each.level}": each.share for each in self.likings},
        )  # fmt: skip


@dataclass(frozen=True)
class _Weights:
    """Users' visits with the kinds of the new items, at one level."""

    visits: sparse.csr_matrix
    """[users, kinds]: w_g / p_g."""
    total: Array
    """w + k, float32 (users,)."""
    strength: float
    items: Array
    """Those of the new items that have a kind, int64."""
    kind: Array
    """Of these items, int64."""

    def lift(self, below: Array, users: slice) -> None:
        """Put into ``below``, [users, new items], what this level says on top of the coarser one."""
        total = self.total[users, None]
        above = self.visits[users].toarray() / total
        prior = np.float32(self.strength) / total
        if len(self.items) == below.shape[1]:
            below *= prior
            below += np.take(above, self.kind, axis=1)
        else:
            below[:, self.items] = below[:, self.items] * prior + np.take(above, self.kind, axis=1)


def _weights(liking: Liking, query: Query, new: Array) -> _Weights | None:
    """None where no new item has a kind at the level that users had."""
    if not _told(query, liking.level):
        return None
    kind = codes(query.items[liking.level], liking.names)[new]
    items = np.flatnonzero(kind >= 0)
    if not len(items):
        return None
    used, place = np.unique(kind[items], return_inverse=True)
    owner, entry, weight = _visits(query, liking.level, "decayed_16x", liking.names)
    at = np.full(len(liking.names) + 1, -1)
    at[used] = np.arange(len(used))
    users, mine = query.users.num_rows, at[entry] >= 0
    value = (weight[mine] / liking.share[entry[mine]]).astype(np.float32)
    visits = sparse.csr_matrix((value, (owner[mine], at[entry[mine]])), (users, len(used)))
    total = (np.bincount(owner, weight, users) + liking.strength).astype(np.float32)
    return _Weights(visits, total, liking.strength, items, place)


def _best(score: Array, new: Array, n: int, start: int) -> Proposals:
    """The n largest of each row, without those of 0."""
    users, n = len(score), min(n, score.shape[1])
    best = np.argpartition(-score, n - 1, axis=1)[:, :n] if n < score.shape[1] else np.tile(np.arange(n), (users, 1))
    value = np.take_along_axis(score, best, 1)
    order = np.lexsort((new[best], -value), axis=1)
    best, value = np.take_along_axis(best, order, 1), np.take_along_axis(value, order, 1)
    user, some = np.repeat(np.arange(start, start + users), n), value.ravel() > 0
    return Proposals(user[some].astype(np.int32), new[best.ravel()[some]].astype(np.int32), value.ravel()[some])


def fit(channel: NewItems, query: Query, events: pa.Table, end: datetime) -> NewItemsModel:
    """What new items were worth, and how far a user's own visits are to be believed."""
    likings = [_liking(query, level) for level in LEVELS if _told(query, level)]
    return NewItemsModel(channel.within, learn(query, events, end, channel.within), likings)


def load(folder: Path) -> NewItemsModel:
    """What `NewItemsModel.save` wrote."""
    content = json.loads((folder / "new_items.json").read_text())
    names = {name: pa.array(values, pa.string()) for name, values in content["names"].items()}
    with np.load(folder / "new_items.npz", allow_pickle=False) as file:
        arrays = dict(file)
    likings = [Liking(level, names[level], arrays.pop(f"share_{level}"), k) for level, k in content["strength"].items()]
    return NewItemsModel(content["within"], NewDemand(categories=names["categories"], **arrays), likings)


def _told(query: Query, level: str) -> bool:
    """Whether the profiles, which may be another pipeline's, tell kinds of a level."""
    return level in query.items.column_names and f"{level}_decayed_16x" in query.users.column_names


def _liking(query: Query, level: str) -> Liking:
    names = pc.unique(query.items[level].cast(pa.string()).combine_chunks().drop_null())
    _, entry, weight = _visits(query, level, "decayed_16x", names)
    total = np.bincount(entry[entry >= 0], weight[entry >= 0], len(names)) + 1.0
    share = total / total.sum()
    return Liking(level, names, share, _strength(*_visits(query, level, "count", names), share))


def _strength(owner: Array, kind: Array, count: Array, share: Array) -> float:
    """See `Liking`."""
    owner, kind, count = owner[kind >= 0], kind[kind >= 0], count[kind >= 0]
    others = np.bincount(owner, count)[owner] - 1 if len(owner) else count

    def likelihood(strength: float) -> float:
        chance = (np.maximum(count - 1, 0) + strength * share[kind]) / (others + strength)
        return float((count * np.log(chance)).sum())

    return max(STRENGTHS, key=likelihood)


def _visits(query: Query, level: str, name: str, names: pa.Array) -> tuple[Array, Array, Array]:
    """Of every entry of the users' lists: the user's row, the kind's code (-1 = unknown) and a number."""
    offsets, kinds = flat(query.users, f"{level}_name")
    owner = np.repeat(np.arange(query.users.num_rows), np.diff(offsets))
    value = flat(query.users, f"{level}_{name}")[1].cast(pa.float64()).to_numpy(zero_copy_only=False)
    return owner, codes(kinds, names), value
