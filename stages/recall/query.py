"""What the channels are asked, a shard's users and items as codes, and the shape of their answer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import pyarrow as pa
from scipy import sparse

from features.lookup import Catalogue, codes, flat
from narrows.candidates import best_first, place_in_run

Array = np.ndarray


@dataclass(frozen=True)
class Proposals:
    """Items that a channel proposes: parallel arrays, by user, best first."""

    user: Array
    """int32 row in the shard's users, rising."""
    item: Array
    """int32 row in the shard's items."""
    score: Array
    """float32, larger is better."""

    @classmethod
    def best(cls, user: Array, item: Array, score: Array, n: int) -> Proposals:
        """The n best-scored rows of each user; equal scores in the order of the items' codes. `user` is rising."""
        edges = np.flatnonzero(np.diff(user, prepend=-1, append=-1))
        chosen = np.ones(len(user), bool)
        for start, stop in pairwise(edges):
            if stop - start > n:  # most rows are far from the best: finding the n-th is much less work than sorting
                scores = score[start:stop]
                chosen[start:stop] = scores >= np.partition(scores, stop - start - n)[stop - start - n]
        user, item, score = user[chosen], item[chosen], score[chosen]
        items = int(item.max(initial=0)) + 1
        order = np.argsort(user.astype(np.int64) * items + item, kind="stable")  # so equal scores come
        order = order[best_first(user[order], score[order])]
        user, item, score = user[order], item[order], score[order]
        keep = place_in_run(user) <= n
        return cls(user[keep].astype(np.int32), item[keep].astype(np.int32), score[keep].astype(np.float32))

    @classmethod
    def none(cls) -> Proposals:
        """No proposal."""
        return cls(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.float32))


class Query:
    """A shard's users and items as numbers.

    Args:
        users: user_profiles rows.
        items: item_profiles, the whole catalogue, or what another shard's query made of it.
        horizon: its length in days.
        visit: the length of a visit's period in days.
        step: the step of the ladder whose popularity suits the data.
        between_fits: whether the channels were fitted as of an earlier as-of and are not due to be fitted again.
    """

    def __init__(
        self,
        users: pa.Table,
        items: pa.Table | Catalogue,
        horizon: float = 7.0,
        visit: float = 1.0,
        step: str = "1x",
        between_fits: bool = False,
    ) -> None:
        self.users, self.catalogue = users, items if isinstance(items, Catalogue) else Catalogue(items)
        self.items, self.ids = self.catalogue.items, self.catalogue.ids
        self.horizon, self.visit, self.step, self.between_fits = horizon, visit, step, between_fits
        self.offsets, names = flat(users, "history_item")
        self.history = codes(names, self.ids)
        """int32 item code per entry of all users' histories, -1 for an item the catalogue lacks."""
        self.owner = np.repeat(np.arange(users.num_rows, dtype=np.int32), np.diff(self.offsets))
        """int32 user row per entry."""

    def of_history(self, name: str) -> Array:
        """`history_<name>` of all entries, float32."""
        return flat(self.users, f"history_{name}")[1].cast(pa.float32()).to_numpy(zero_copy_only=False)

    @cached_property
    def seen(self) -> sparse.csr_matrix:
        """users x items, true where the item is in the user's history."""
        known = self.history >= 0
        shape = (self.users.num_rows, len(self.ids))
        return sparse.csr_matrix((np.ones(known.sum(), bool), (self.owner[known], self.history[known])), shape)

    def had(self, user: Array, item: Array) -> Array:
        """Whether each pair is in `seen`: bool (pairs,)."""
        return np.asarray(self.seen[user, item]).ravel() if len(user) else np.empty(0, bool)  # SciPy: no empty look-up

    def last_days(self, user: Array, item: Array) -> Array:
        """Days since each user last took the item, infinite where never: float32 (pairs,). `item` may be -1."""
        known, width = self.history >= 0, len(self.ids)
        keys = self.owner[known].astype(np.int64) * width + self.history[known]
        order = np.argsort(keys)
        keys, days = np.append(keys[order], -1), np.append(self.of_history("last_days")[known][order], np.inf)
        wanted = user.astype(np.int64) * width + item
        at = np.searchsorted(keys[:-1], wanted)
        return np.where((keys[at] == wanted) & (item >= 0), days[at], np.inf).astype(np.float32)

    @property
    def age(self) -> Array:
        """Days since the item was last taken or looked at; of one that never was, since it became available.

        float32, infinite where that is not known either.
        """

        def make() -> Array:
            met = np.minimum(self._days("days_since_last_event"), self._days("days_since_last_view"))
            return np.where(np.isfinite(met), met, self.available)

        return self.catalogue.once("age", make)

    @property
    def available(self) -> Array:
        """Days since the item became available, float32, infinite where that is not known."""
        return self.catalogue.once("available", lambda: self._days("days_since_available"))

    def _days(self, name: str) -> Array:
        """An item column of days, infinite where it is null or, in profiles of another pipeline, not there."""
        if name not in self.items.column_names:
            return np.full(len(self.ids), np.inf, np.float32)
        return np.nan_to_num(self.catalogue.column(name), nan=np.inf)
