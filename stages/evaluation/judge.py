"""The truth of one horizon in coded form, and lists held against it.

Three populations, each of the users who have something to find:

- ``all``: the list as it is, against all positives;
- ``new``: the list as it is, against the positives that are new to the user (not in their history at the
  as-of);
- ``discovery``: the list's new items moved up to the front, against the same new positives: what a shelf of
  only new items in this order would be worth, which is *not* what was shown.

A user of the population who has no list counts as zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from narrows.candidates import positions
from narrows.columns import ITEM, RANK, USER
from stages.evaluation.ledger import codes, floats, pairs
from stages.evaluation.metrics import per_user


@dataclass(frozen=True)
class JudgedLists:
    """Lists of many users as codes: three int64 arrays (rows,); place 1 is the top."""

    user: np.ndarray
    item: np.ndarray
    place: np.ndarray

    @property
    def users(self) -> int:
        return len(np.unique(self.user))


@dataclass(frozen=True)
class Population:
    """The users with at least one positive, and the positives."""

    row: np.ndarray
    """int64 (all users,): the user's row here, -1 = not judged."""
    positives: np.ndarray
    """int64 (judged users,): how many positives each has."""
    keys: np.ndarray
    """int64, ascending: the (user, item) pairs."""


def member(keys: np.ndarray, ascending: np.ndarray) -> np.ndarray:
    """Whether each key is among the ascending ones: bool (keys,)."""
    if not len(ascending):
        return np.zeros(len(keys), bool)
    return ascending[np.minimum(np.searchsorted(ascending, keys), len(ascending) - 1)] == keys


class Judge:
    """Holds lists against the truth.

    Args:
        truth: user_id, item_id; duplicates count once.
        users: user_profiles: user_id, and history_item (list of str) where known; None = nobody has a
            history.
            A profile that keeps only a user's latest items makes older ones count as new.
        items: item_profiles: item_id, in catalogue order; None = the truth's items.
    """

    def __init__(self, truth: pa.Table, users: pa.Table | None = None, items: pa.Table | None = None) -> None:
        self.users, self.items = _union(users, truth, USER), _union(items, truth, ITEM)
        positives = pairs(truth)
        keys = np.sort(self.keys(codes(positives[USER], self.users), codes(positives[ITEM], self.items)))
        self.seen = np.zeros(0, np.int64)
        if users is not None and "history_item" in users.column_names:
            history = users["history_item"].combine_chunks()
            owner = codes(users[USER], self.users)[pc.list_parent_indices(history).to_numpy()]
            item = codes(history.flatten(), self.items)
            self.seen = np.sort(self.keys(owner, item)[item >= 0])
        fresh = keys[~member(keys, self.seen)]
        self.populations = {"all": self._population(keys), "new": self._population(fresh)}
        self.populations["discovery"] = self.populations["new"]

    def keys(self, user: np.ndarray, item: np.ndarray) -> np.ndarray:
        """One int64 for each (user, item)."""
        return user * len(self.items) + item

    def _population(self, keys: np.ndarray) -> Population:
        users, positives = np.unique(keys // max(len(self.items), 1), return_counts=True)
        row = np.full(len(self.users), -1)
        row[users] = np.arange(len(users))
        return Population(row, positives, keys)

    def split(self, one: str, other: str, users: np.ndarray) -> None:
        """Make two populations of ``all``: the coded ``users``, and the rest."""
        keys = self.populations["all"].keys
        mine = np.isin(keys // max(len(self.items), 1), users)
        self.populations |= {one: self._population(keys[mine]), other: self._population(keys[~mine])}

    def lists(self, table: pa.Table) -> JudgedLists:
        """A table of lists (user_id, item_id, rank), as published.

        Users outside profiles and truth are left out, an unknown item keeps its place and is no hit.

        Raises:
            ValueError: a rank below 1, or a user with two items of one rank or one item twice.
        """
        user, item = codes(table[USER], self.users), codes(table[ITEM], self.items)
        place = table[RANK].cast(pa.int64()).to_numpy()
        if len(place) and place.min() < 1:
            raise ValueError(f"a rank is {place.min()}; the first place of a list is 1")
        for what in (RANK, ITEM):
            grain = table.select([USER, what]).group_by([USER, what]).aggregate([])
            if grain.num_rows < table.num_rows:
                raise ValueError(f"some user has two rows with one {what}; the grain of a list is (user_id, {what})")
        known = user >= 0
        return JudgedLists(user[known], item[known], place[known])

    def pool(self, user: np.ndarray, item: np.ndarray) -> Pool:
        """Candidates from codes."""
        return Pool(user, item, ~member(self.keys(user, item), self.seen))

    def candidates(self, table: pa.Table) -> Pool:
        """Candidates from a table's user_id and item_id."""
        return self.pool(codes(table[USER], self.users), codes(table[ITEM], self.items))

    def is_positive(self, user: np.ndarray, item: np.ndarray, population: str = "all") -> np.ndarray:
        """Whether each coded (user, item) is a positive: bool (rows,); unknown ones are not."""
        return (user >= 0) & (item >= 0) & member(self.keys(user, item), self.populations[population].keys)

    def hits(self, lists: JudgedLists, population: str, depth: int) -> np.ndarray:
        """Whether each place holds a positive: bool (judged users, depth)."""
        judged = self.populations[population]
        row = judged.row[lists.user]
        hit = (lists.place <= depth) & (row >= 0)
        hit[hit] = self.is_positive(lists.user[hit], lists.item[hit], population)
        hits = np.zeros((len(judged.positives), depth), bool)
        hits[row[hit], lists.place[hit] - 1] = True
        return hits

    def per_user(self, lists: JudgedLists, population: str, k: int) -> dict[str, np.ndarray]:
        """Metric to f64 (judged users,); see ``metrics.per_user``."""
        return per_user(self.hits(lists, population, k), self.populations[population].positives, k)


@dataclass(frozen=True)
class Pool:
    """Candidates in coded form, from which orders make lists."""

    user: np.ndarray
    item: np.ndarray
    new: np.ndarray
    """bool (rows,): the item is not in the user's history."""

    def top(self, rank: np.ndarray | pa.ChunkedArray, n: int, new: bool = False) -> JudgedLists:
        """The first ``n`` of each user by ascending rank; null or infinite = not in this order.

        Args:
            rank: (rows,).
            n: list length.
            new: only the items new to the user.
        """
        rank = rank if isinstance(rank, np.ndarray) else floats(rank)
        some = np.flatnonzero(np.isfinite(rank) & (self.user >= 0) & (self.new if new else True))
        place = positions(self.user[some], rank[some])
        first = some[place <= n]
        return JudgedLists(self.user[first], self.item[first], place[place <= n])


def _union(table: pa.Table | None, truth: pa.Table, column: str) -> pa.Array:
    parts = [source[column].cast(pa.string()) for source in (table, truth) if source is not None]
    return pc.unique(pa.chunked_array([chunk for part in parts for chunk in part.chunks], pa.string()))
