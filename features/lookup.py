"""Looking things up for (user, item) pairs: codes of ids, places in the users' lists. NumPy and Arrow only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

Array = np.ndarray
T = TypeVar("T")


def column(table: pa.Table, name: str) -> Array:
    """A numeric column as float32, nulls as NaN."""
    return table[name].combine_chunks().cast(pa.float32()).to_numpy(zero_copy_only=False)


def flat(table: pa.Table, name: str) -> tuple[Array, pa.Array]:
    """A list column as (offsets int64 of length rows + 1, flat values); a null list is an empty one."""
    array = table[name].combine_chunks()
    array = array.chunk(0) if isinstance(array, pa.ChunkedArray) else array
    lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]), array.flatten()


def stacked(table: pa.Table, names: Sequence[str], rows: Array) -> Array:
    """Some rows of numeric columns, in the order given: float32 (rows, names), nulls as NaN."""
    values = np.empty((len(rows), len(names)), np.float32)
    for k, name in enumerate(names):  # one column at a time: there is no second copy of all
        values[:, k] = column(table, name)[rows]
    return values


def varying(*parts: Array) -> Array:
    """The columns of float32 (rows, columns) that have more than one value in all parts, a missing one counted as a value: int64.

    All columns, where none varies.
    """
    with_rows = [part for part in parts if len(part)]
    if not with_rows:
        return np.arange(parts[0].shape[1])
    least = np.fmin.reduce([np.fmin.reduce(part, 0) for part in with_rows], 0)  # without the missing ones
    most = np.fmax.reduce([np.fmax.reduce(part, 0) for part in with_rows], 0)
    gaps = np.any([np.isnan(part).any(0) for part in with_rows], 0)
    varies = ~np.isnan(least) & (gaps | (least < most))
    return np.flatnonzero(varies) if varies.any() else np.arange(parts[0].shape[1])


def codes(values: pa.Array | pa.ChunkedArray, vocabulary: pa.Array) -> Array:
    """Position of every value in the vocabulary, -1 where unknown or null."""
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if values.type != vocabulary.type:
        values = values.cast(vocabulary.type)
    positions = pc.index_in(values, value_set=vocabulary, skip_nulls=True)
    return pc.fill_null(positions, -1).to_numpy(zero_copy_only=False)


CATALOGUE = "catalogue"
"""Under this name the rooms share one of the items in `Shard.once`."""


class Catalogue:
    """The item table with its string columns as codes.

    Building one codes the whole table, so whoever makes several `Pairs` over one item table builds it once.
    """

    def __init__(self, items: pa.Table):
        self.items = items
        self.ids: pa.Array = items["item_id"].combine_chunks()
        self._kept: dict[tuple[str, int], tuple[object, Any]] = {}
        self.vocabulary: dict[str, pa.Array] = {}
        self.code: dict[str, Array] = {}
        for name in ("category", "subcategory", "brand"):
            values = items[name].combine_chunks().cast(pa.string())
            self.vocabulary[name] = pc.unique(values.drop_null())
            self.code[name] = codes(values, self.vocabulary[name])

    def once(self, name: str, make: Callable[[], T], model: object = None) -> T:
        """What ``make`` makes of the items, and of a model if one is given: made at the first call and kept under the name."""
        key = name, id(model)
        if key not in self._kept:
            self._kept[key] = model, make()  # with the model, as another could get its id
        made: T = self._kept[key][1]
        return made

    def column(self, name: str) -> Array:
        """A numeric column, float32 (items,), nulls as NaN."""
        return self.once(f"column {name}", lambda: column(self.items, name))

    def place(self, name: str) -> Array:
        """Each item's place by a column that counts, 1 = the largest, equal counts alike; NaN for 0: float32 (items,)."""

        def make() -> Array:
            count = np.nan_to_num(self.column(name))
            ascending = np.sort(count)
            place = (len(count) - np.searchsorted(ascending, count, "right") + 1).astype(np.float32)
            return np.where(count > 0, place, np.float32(np.nan))

        return self.once(f"place {name}", make)

    @cached_property
    def contexts(self) -> tuple[pa.Array, Array, Array, Array]:
        """Context names, start of each context's block, item code per entry, and the entry's place in the flat lists."""
        offsets, names = flat(self.items, "context_name")
        vocabulary = pc.unique(names)
        code = codes(names, vocabulary)
        item = np.repeat(np.arange(len(offsets) - 1, dtype=np.int32), np.diff(offsets))
        order = np.argsort(code, kind="stable")
        starts = np.searchsorted(code[order], np.arange(len(vocabulary) + 1))
        return vocabulary, starts, item[order], order


def locate(starts: Array, stops: Array, entries: Array, bounds: Array, queries: Array, size: int) -> Array:
    """Place of every queried code in its user's list.

    One scratch row of `size` is written and erased per user: linear time, and the row stays in cache.

    Args:
        starts: of each user's list in `entries`, int (users,).
        stops: the ends, int (users,).
        entries: codes below `size`; `entries[starts[u]:stops[u]]` are user u's.
        bounds: int (users + 1,); `queries[bounds[u]:bounds[u + 1]]` are looked up in user u's list.
        queries: codes below `size`, -1 = unknown.
        size: of the vocabulary.

    Returns:
        int32 (queries,): the index in `entries`, -1 where absent.
    """
    scratch = np.full(size + 1, -1, dtype=np.int32)  # the last cell takes code -1
    place = np.empty(len(queries), dtype=np.int32)
    for u in np.flatnonzero(np.diff(bounds)):
        keys = entries[starts[u] : stops[u]]
        scratch[keys] = np.arange(starts[u], stops[u], dtype=np.int32)
        scratch[-1] = -1
        place[bounds[u] : bounds[u + 1]] = scratch[queries[bounds[u] : bounds[u + 1]]]
        scratch[keys] = -1
    return place


def locate_in_groups(starts: Array, entries: Array, group: Array, queries: Array, size: int) -> Array:
    """Place of every queried code in its group's list, which many queries share.

    Args:
        starts: int (groups + 1,); `entries[starts[g]:starts[g + 1]]` are group g's.
        entries: codes below `size`.
        group: of each query, int (queries,), -1 = none.
        queries: codes below `size`.
        size: of the vocabulary.

    Returns:
        int32 (queries,): the index in `entries`, -1 where absent.
    """
    scratch = np.full(size, -1, dtype=np.int32)
    place = np.full(len(queries), -1, dtype=np.int32)
    order = np.argsort(group, kind="stable")
    begins = np.flatnonzero(np.diff(group[order], prepend=-1))
    for rows in np.split(order, begins)[1:]:
        start, stop = starts[group[rows[0]]], starts[group[rows[0]] + 1]
        scratch[entries[start:stop]] = np.arange(start, stop, dtype=np.int32)
        place[rows] = scratch[queries[rows]]
        scratch[entries[start:stop]] = -1
    return place


class Pairs:
    """Pairs of a shard with their places in the user and item tables and in the users' lists.

    Args:
        users: user_profiles rows.
        items: item_profiles, the whole catalogue.
        candidates: at least (user_id, item_id), grouped by user in the users' order.
        catalogue: that of `items`, where the caller has it; else it is built.

    Raises:
        ValueError: the candidates are not so grouped, or one's user or item is not in the tables.
    """

    def __init__(self, users: pa.Table, items: pa.Table, candidates: pa.Table, catalogue: Catalogue | None = None):
        self.users, self.items, self.candidates = users, items, candidates
        self.catalogue = catalogue or Catalogue(items)
        self.user = codes(candidates["user_id"], users["user_id"].combine_chunks())
        self.item = codes(candidates["item_id"], self.catalogue.ids)
        self.bounds = np.searchsorted(self.user, np.arange(users.num_rows + 1))
        self._cache: dict[str, Array] = {}
        known = len(self.catalogue.ids) > 0 and (self.user >= 0).all() and (self.item >= 0).all()
        if len(self) and not known:
            raise ValueError("every candidate's user and item must be in the shard's users and items")
        if (np.diff(self.user) < 0).any():
            raise ValueError("candidates must be grouped by user, in the order of the shard's users")

    @classmethod
    def each_item(cls, catalogue: Catalogue) -> Pairs:
        """Every item of a catalogue once, of no user: for features that depend on the item alone."""
        every = cls.__new__(cls)
        every.items, every.catalogue, every._cache = catalogue.items, catalogue, {}
        every.item = np.arange(len(catalogue.ids), dtype=np.int32)
        return every

    def __len__(self) -> int:
        return len(self.item)

    def take(self, rows: Array) -> Pairs:
        """The pairs of these rows, int64 in rising order; what was looked up for them is kept."""
        part = copy(self)
        part.candidates = self.candidates.take(pa.array(rows))
        part.user, part.item = self.user[rows], self.item[rows]
        part.bounds = np.searchsorted(rows, self.bounds)
        part._cache = {key: values[rows] for key, values in self._cache.items()}
        return part

    def of_user(self, name: str) -> Array:
        """A user column, float32, per pair."""
        return self._keep(f"user {name}", lambda: column(self.users, name)[self.user])

    def of_item(self, name: str) -> Array:
        """An item column, float32, per pair."""
        return self._keep(f"item {name}", lambda: self.catalogue.column(name)[self.item])

    def of_candidate(self, name: str) -> Array:
        """A column of the candidate table, float32, NaN where the table has none of this name."""
        if name not in self.candidates.column_names:
            return np.full(len(self), np.nan, np.float32)
        return column(self.candidates, name)

    def _keep(self, key: str, make: Callable[[], Array]) -> Array:
        if key not in self._cache:
            self._cache[key] = make()
        return self._cache[key]

    def place(self, kind: str) -> Array:
        """Place of the pair in the flat lists of the users, -1 if absent.

        `kind`: `history`, `viewed` (of items), `category`, `subcategory` or `brand`.
        """
        if kind not in self._cache:
            of_items = kind in ("history", "viewed")
            offsets, names = flat(self.users, f"{kind}_item" if of_items else f"{kind}_name")
            if of_items:
                entries, queries, size = codes(names, self.catalogue.ids), self.item, len(self.catalogue.ids)
            else:
                vocabulary = self.catalogue.vocabulary[kind]
                entries, queries, size = codes(names, vocabulary), self.catalogue.code[kind][self.item], len(vocabulary)
            self._cache[kind] = locate(offsets[:-1], offsets[1:], entries, self.bounds, queries, size)
        return self._cache[kind]

    def of_list(self, kind: str, name: str) -> Array:
        """`<kind>_<name>` of the pair's entry in the user's lists, NaN where the user has none."""
        key = f"{kind}_{name}"
        if key not in self._cache:
            place = self.place(kind)
            values = flat(self.users, key)[1].cast(pa.float32()).to_numpy(zero_copy_only=False)
            values = np.append(values, np.float32(np.nan))
            self._cache[key] = values[place]
        return self._cache[key]

    def of_context(self, name: str) -> Array:
        """`context_<name>` of the item at the user's favourite context, 0 where it has no entry."""
        vocabulary, starts, entries, order = self.catalogue.contexts
        if "context" not in self._cache:
            of_pair = codes(self.users["favourite_context"], vocabulary)[self.user]
            self._cache["context"] = locate_in_groups(starts, entries, of_pair, self.item, len(self.catalogue.ids))

        def make() -> Array:
            values = flat(self.items, f"context_{name}")[1].cast(pa.float32()).to_numpy(zero_copy_only=False)
            return np.append(values[order], np.float32(0))

        return self.catalogue.once(f"context {name}", make)[self._cache["context"]]

    def sum_of_list(self, kind: str, name: str) -> Array:
        """Sum of `<kind>_<name>` over the user's whole list, float32."""
        offsets, values = flat(self.users, f"{kind}_{name}")
        running = np.append(0.0, np.cumsum(values.to_numpy(zero_copy_only=False), dtype=np.float64))
        return (running[offsets[1:]] - running[offsets[:-1]]).astype(np.float32)[self.user]

    def place_in_list(self, kind: str) -> Array:
        """Place of the pair in its user's list, 0 = first, NaN where absent, float32."""
        start = flat(self.users, f"{kind}_count")[0][:-1]
        place = self.place(kind)
        return np.where(place >= 0, place - start[self.user], np.nan).astype(np.float32)

    def sum_by(self, kind: str, name: str) -> Array:
        """Sum of an item column over all items of the item's category, subcategory or brand; NaN where it has none."""

        def make() -> Array:
            code = self.catalogue.code[kind]
            values = np.nan_to_num(self.catalogue.column(name))
            total = np.bincount(code[code >= 0], values[code >= 0], minlength=len(self.catalogue.vocabulary[kind]))
            return np.append(total, np.nan).astype(np.float32)[code]

        sums = self.catalogue.once(f"sum {kind} {name}", make)
        return self._keep(f"sum {kind} {name}", lambda: sums[self.item])
