"""Channels: what many users had lately, of all users, of the user's segment, or at the user's favourite context."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from features.lookup import codes, column, flat
from stages.recall.query import Array, Proposals, Query


@dataclass(frozen=True)
class Popular:
    """The items with the most distinct users in a window, without those the user had; score = users."""

    name: str
    column: str
    """The item column that counts users, for example users_28d."""

    def propose(self, query: Query, n: int) -> Proposals:
        """At most n items, the same for everyone up to what each user had."""
        lists = [_best(column(query.items, self.column))] * query.users.num_rows
        return _propose(query, lists, n)


@dataclass(frozen=True)
class PopularWithin:
    """The same within a group of users: the shard user's segment or favourite context."""

    name: str
    group: str
    """The user column that names the group, also the prefix of the item lists: segment or context."""
    window: str

    def propose(self, query: Query, n: int) -> Proposals:
        """At most n items; none for a user whose group is null or unknown."""
        offsets, names = flat(query.items, f"{self.group}_name")
        counts = flat(query.items, f"{self.group}_users_{self.window}")[1]
        counts = counts.cast(pa.float32()).to_numpy(zero_copy_only=False)
        vocabulary = names.unique()
        group = codes(names, vocabulary)
        item = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
        order = np.argsort(group, kind="stable")
        starts = np.searchsorted(group[order], np.arange(len(vocabulary) + 1))
        mine = codes(query.users["favourite_context" if self.group == "context" else self.group], vocabulary)
        ranked = {}
        for code in np.unique(mine[mine >= 0]):
            block = order[starts[code] : starts[code + 1]]
            best = _best(counts[block])[0]
            ranked[code] = (item[block][best], counts[block][best])
        nothing = (np.empty(0, np.int64), np.empty(0, np.float32))
        return _propose(query, [ranked.get(code, nothing) for code in mine], n)


def _best(count: Array) -> tuple[Array, Array]:
    """Places of the positive counts, largest first, and the counts."""
    order = np.argsort(-count, kind="stable")
    order = order[count[order] > 0]
    return order, count[order]


def _propose(query: Query, lists: list[tuple[Array, Array]], n: int) -> Proposals:
    users, items, scores = [], [], []
    new = np.ones(len(query.ids) + 1, bool)  # the last place is for -1, an item the catalogue lacks
    for user, (item, score) in enumerate(lists):
        had = query.history[query.offsets[user] : query.offsets[user + 1]]
        new[had] = False
        fresh = np.flatnonzero(new[item[: n + len(had)]])[:n]  # at most all of the history stands in the head
        new[had] = True
        users.append(np.full(len(fresh), user, np.int32))
        items.append(item[fresh].astype(np.int32))
        scores.append(score[fresh].astype(np.float32))
    if not users:
        return Proposals(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.float32))
    return Proposals(np.concatenate(users), np.concatenate(items), np.concatenate(scores))
