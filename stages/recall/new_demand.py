"""How much new items are wanted: by category, age and first users, learned from items that were new before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.ladder import STEPS
from features.lookup import codes, column
from stages.recall.query import Array, Query

FIRST = ("64th", "16th", "4th", "1x")
"""Steps by whose users an item is told from others of its age."""
CUTS, CUTS_A_HORIZON = 48, 4
"""Earlier instants to learn at, and how many of them a horizon has."""
CLOSE = ("64th", "16th", "4th", "1x", "4x", "16x", "64x")
"""Steps that part ages."""


@dataclass(frozen=True)
class NewDemand:
    """The expected users of a new item in the coming horizon, m (1 + v n) / (1 + v e).

    m is the mean of items of the same category and age, n the item's users within the step that tells most at this age, and e
    the mean of n. So it is where users arrive as a Poisson process whose rate, in multiples of the mean, is gamma-distributed
    among items with variance v (the posterior mean: Robbins 1956; DuMouchel 1999). v is estimated by moments: the covariance
    of n and the demand over the sum of e m. Means of categories are drawn towards that of the age by their credibility
    (Bühlmann & Straub 1970); one item of the mean of all ages is added to each age.
    """

    ends: Array
    """The oldest age of each group of ages, in horizons, rising: float64 (ages,)."""
    categories: pa.Array
    demand: Array
    """m, float64 [ages, categories + 1]; the last column is for items without a known category."""
    first: Array
    """e, the same shape."""
    spread: Array
    """v, float64 (ages,)."""
    step: Array
    """Of n: place in ``FIRST``, int64 (ages,)."""

    def of(self, query: Query, rows: Array) -> Array:
        """The expected users of some items, in the units of the profiles' ``users_1x``: float64 (rows,)."""
        age = _age_of(query.born[rows] / query.horizon, self.ends)
        category = _categories(query.items, self.categories)[rows]
        users = np.stack([np.nan_to_num(column(query.items, f"users_{step}")) for step in FIRST], 1)
        return self.expected(age, category, users[rows])

    def expected(self, age: Array, category: Array, users: Array) -> Array:
        """See the class.

        Args:
            age: the group of ages, int (rows,).
            category: its code, -1 = none that is known, int (rows,).
            users: within each step of ``FIRST`` (rows, steps).
        """
        spread, near = self.spread[age], users[np.arange(len(age)), self.step[age]]
        return self.demand[age, category] * (1 + spread * near) / (1 + spread * self.first[age, category])


def learn(query: Query, events: pa.Table, end: datetime, within: float) -> NewDemand:
    """From items that were new at earlier instants whose horizon is over.

    Args:
        query: all items as known at the as-of.
        events: user_id, item_id, event_time of the positives of some users.
        end: the first instant after the as-of.
        within: an item is new for so many horizons.
    """
    ends = np.array([*(STEPS[step] for step in CLOSE if STEPS[step] < within), within])
    named = "category" in query.items.column_names
    known = pc.unique(query.items["category"].drop_null()).cast(pa.string()) if named else pa.array([], pa.string())
    known = known.combine_chunks() if isinstance(known, pa.ChunkedArray) else known
    category = _categories(query.items, known)
    rows = list(_at_cuts(query, events, end, within))
    item, old, users, wanted = (np.concatenate(part) for part in zip(*rows, strict=True)) if rows else _nothing()
    age, kind, groups = _age_of(old, ends), category[item], len(known) + 1
    overall, near = wanted.mean() if wanted.any() else 1.0, users.mean(0) if len(users) else np.zeros(len(FIRST))
    shape = (len(ends), groups)
    demand, first = np.full(shape, overall), np.zeros(shape)
    spread, step = np.zeros(len(ends)), np.zeros(len(ends), np.int64)
    for k in range(len(ends)):
        here = age == k
        demand[k] = _credible(wanted[here], kind[here], groups, overall)
        worth = _likelihood(wanted[here], demand[k][kind[here]])
        for place in range(len(FIRST)):
            seen, mean = users[here, place], _credible(users[here, place], kind[here], groups, near[place])
            expected, base = mean[kind[here]], demand[k][kind[here]]
            total = (expected * base).sum()
            v = max(((seen - expected) * (wanted[here] - base)).sum() / total, 0.0) if total else 0.0
            better = _likelihood(wanted[here], base * (1 + v * seen) / (1 + v * expected))
            if better > worth:
                worth, first[k], spread[k], step[k] = better, mean, v, place
    return NewDemand(ends, known, demand, first, spread, step)


def _at_cuts(query: Query, events: pa.Table, end: datetime, within: float) -> Iterator[tuple[Array, ...]]:
    """At each cut the items that were new: rows, ages in horizons, users within the steps of ``FIRST``, users after it.

    Events of a sample of the users count for those of all.
    """
    lengths = np.array([STEPS[step] for step in FIRST])
    since = (CUTS / CUTS_A_HORIZON + 1 + within) * query.horizon
    item = codes(events["item_id"], query.ids)
    stamp = events["event_time"].combine_chunks().cast(pa.timestamp("us")).cast(pa.int64()).to_numpy() / 1e6
    age = (end.timestamp() - stamp) / timedelta(days=query.horizon).total_seconds()
    if not len(age):
        return
    reach, scale = age.max(), _scale(query, events, item, age)
    born = query.born / query.horizon
    # what was there when the log begins may be much older than its first event
    dated = np.isfinite(query.available)
    born = np.where(dated | (born < reach - within), born, np.inf)
    use = (item >= 0) & (query.born[item] <= since)
    names = events["user_id"].combine_chunks()
    user, item, age = codes(names, names.unique())[use].astype(np.int64), item[use], age[use]
    order = np.lexsort((age, user * len(query.ids) + item))  # a pair's events together, the newest first
    pair, item, age = (user * len(query.ids) + item)[order], item[order], age[order]
    same = pair[1:] == pair[:-1]
    newer, older = np.full(len(age), -np.inf), np.full(len(age), np.inf)
    newer[1:][same], older[:-1][same] = age[:-1][same], age[1:][same]
    order = np.argsort(age, kind="stable")
    item, age, newer, older = item[order], age[order], newer[order], older[order]
    for cut in 1 + np.arange(CUTS) / CUTS_A_HORIZON:
        if cut > reach - within:
            return
        new = np.flatnonzero((born > cut) & (born <= cut + within))
        after, at, before = np.searchsorted(age, [cut - 1, cut, cut + 1], "right")
        first = newer[at:before] <= cut  # the user's newest event before the cut, so that each counts once
        step = np.searchsorted(lengths, age[at:before][first] - cut, "left")
        key = item[at:before][first].astype(np.int64) * len(lengths) + np.minimum(step, len(lengths) - 1)
        users = np.bincount(key, minlength=len(query.ids) * len(lengths)).reshape(-1, len(lengths)).cumsum(1)
        once = older[after:at] > cut  # no older event of the user's within the horizon
        wanted = np.bincount(item[after:at][once], minlength=len(query.ids))
        yield new, born[new] - cut, users[new] * scale, wanted[new] * scale


def _scale(query: Query, events: pa.Table, item: Array, age: Array) -> float:
    """How many users each user of the events stands for: by the users of all items in the last horizon."""
    if "users_1x" not in query.items.column_names:
        return 1.0
    lately = (age <= 1) & (item >= 0)
    names = events["user_id"].combine_chunks()
    pairs = len(np.unique(codes(names, names.unique())[lately].astype(np.int64) * len(query.ids) + item[lately]))
    return max(float(np.nansum(column(query.items, "users_1x"))) / pairs, 1.0) if pairs else 1.0


def _credible(value: Array, group: Array, size: int, prior: float) -> Array:
    """The mean of each group, drawn towards that of all by n / (n + variance within / variance between): float64 (size,).

    To all of them one value of ``prior`` is added. Bühlmann & Straub's estimators of the variances.
    """
    mean = (value.sum() + prior) / (len(value) + 1)
    group = group % size  # -1 = none is the last
    count = np.bincount(group, minlength=size)
    own = np.where(count, np.bincount(group, value, size) / np.maximum(count, 1), mean)
    groups, total = int((count > 0).sum()), max(len(value), 1)
    inside = ((value - own[group]) ** 2).sum() / max(total - groups, 1)
    even = total - (count**2).sum() / total
    between = ((count * (own - mean) ** 2).sum() - max(groups - 1, 0) * inside) / even if even > 0 else 0.0
    weight = count * max(between, 0.0)
    return mean + np.divide(weight, weight + inside, out=np.zeros(size), where=weight > 0) * (own - mean)


def _likelihood(wanted: Array, expected: Array) -> float:
    """Of counts under Poisson distributions, up to what does not depend on the expectation."""
    return float((wanted * np.log(np.maximum(expected, 1e-12)) - expected).sum())


def _age_of(age: Array, ends: Array) -> Array:
    """The group of each age: int64 (rows,)."""
    return np.minimum(np.searchsorted(ends, age, "left"), len(ends) - 1)


def _categories(items: pa.Table, known: pa.Array) -> Array:
    """Codes of the items' categories, -1 where there is none."""
    return codes(items["category"], known) if len(known) else np.full(items.num_rows, -1)


def _nothing() -> tuple[Array, ...]:
    return np.empty(0, np.int64), np.empty(0), np.empty((0, len(FIRST))), np.empty(0)
