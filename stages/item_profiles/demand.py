"""What will be wanted next: the share of the coming horizon's demand that each item is expected to have.

Trees over an item's counts within the steps of the ladder, learned at earlier instants (cuts) a fraction of the horizon apart:
as each cut's horizon is over, its demand is known. Counts are shares and places, which busy and quiet times have in common.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from features.ladder import DEPTH, STEPS
from features.lookup import codes
from narrows.columns import EVENT_TIME, ITEM, USER
from narrows.engine.memory import cores
from narrows.engine.undo import positives
from narrows.sampling import uniform
from narrows.stage import Asof, Table

Array = np.ndarray
COUNTED = ("64th", "16th", "4th", "1x", "4x")
"""Steps whose users are counted."""
CUTS_A_HORIZON = 8
"""Cuts are an eighth of the horizon apart."""
BEST = 200
"""An item is learned from, and forecast, if it is among so many best within any of the steps; the others have 0."""
AT_A_TIME = 2
"""As-ofs that are forecast at once."""
SEEDS = (1, 2)
"""Of the models whose forecasts are averaged."""
TREES = 80
OPTIONS = {
    "objective": "tweedie", "num_leaves": 15, "learning_rate": 0.08, "min_data_in_leaf": 20, "feature_fraction": 0.7,
    "bagging_fraction": 0.8, "bagging_freq": 1, "num_threads": 1, "deterministic": True, "force_col_wise": True, "verbosity": -1,
}  # fmt: skip
"""Of LightGBM: demand is 0 for most items and large for few, which a Tweedie distribution describes (Jorgensen 1987)."""
UNIT = 1000.0
"""Labels are thousandths of the demand, so that the regularization of the leaves does not see numbers near 0."""


@dataclass(frozen=True)
class Log:
    """Positives in the order of time."""

    items: pa.Array
    """The items' ids, in order."""
    item: Array
    """Code into ``items``, int32 (events,)."""
    user: Array
    """Code of the user, int32 (events,)."""
    second: Array
    """Since 1970, float64 (events,)."""
    next: Array
    """When the same user has the item again, infinite where never (events,)."""
    previous: Array
    """When the same user had the item before, minus infinity where never (events,)."""
    start: float
    """The first instant that was read, in seconds since 1970."""


def forecasts(
    events: Table, asofs: list[Asof], horizon: timedelta, cuts: int, most: int
) -> dict[Asof, pa.Table | None]:
    """`expected` of several as-ofs, two at a time: few rows keep one core busy, and each has up to ``most`` events in memory."""
    with ThreadPoolExecutor(min(AT_A_TIME, cores())) as pool:
        made = pool.map(lambda asof: expected(events, asof, horizon, cuts, most), asofs)
        return dict(zip(asofs, made, strict=True))


def expected(events: Table, asof: Asof, horizon: timedelta, cuts: int, most: int) -> pa.Table | None:
    """The forecast of an as-of by what was known then.

    Args:
        events: the positives are read, of the last ``cuts / 8 + 5`` horizons.
        asof: the forecast is for the horizon after it.
        horizon: the length of time that is forecast.
        cuts: the most earlier instants to learn from.
        most: about so many events at most are read; of more, those of a share of the users, drawn by a hash.

    Returns:
        item_id, expected_demand f32 (see `forecast`), in order; None where no horizon of a cut is over.
    """
    log = read(events.known_at(asof), asof, horizon, cuts, most)
    return None if log is None else forecast(log, asof.end.timestamp(), horizon.total_seconds(), cuts)


def read(events: Table, asof: Asof, horizon: timedelta, cuts: int, most: int) -> Log | None:
    """The positives that the forecast needs; None where there is none. For the arguments see `expected`."""
    reach = horizon * (1 + cuts / CUTS_A_HORIZON + STEPS[COUNTED[-1]])
    begin, end = (pa.scalar(each, pa.timestamp("us", "UTC")) for each in (asof.end - reach, asof.end))
    where = (ds.field(EVENT_TIME) >= begin) & (ds.field(EVENT_TIME) < end)
    count = events.count(where)
    if count > most:
        where &= _some_users(events, where, most / count)
    rows = positives(events, [USER, ITEM, EVENT_TIME], where)
    return log_of(rows) if rows.num_rows else None


def _some_users(events: Table, where: Any, share: float) -> Any:
    users = pa.array([], pa.string())
    for batch in events.batches([USER], where):
        users = pc.unique(pa.concat_arrays([users, batch[USER].cast(pa.string())]))
    return ds.field(USER).isin(users.filter(pa.array(uniform(users.to_pylist(), "users") < share)))


def log_of(rows: pa.Table) -> Log:
    """From user_id, item_id and event_time of at least one event."""
    users, items = (_in_order(pc.unique(rows[name]).cast(pa.string())) for name in (USER, ITEM))
    user, item = codes(rows[USER].combine_chunks(), users), codes(rows[ITEM].combine_chunks(), items)
    second = rows[EVENT_TIME].combine_chunks().cast(pa.timestamp("us")).cast(pa.int64()).to_numpy() / 1e6
    order = np.lexsort((user, item, second))
    user, item, second = user[order], item[order], second[order]
    pair = user.astype(np.int64) * len(items) + item
    order = np.argsort(pair, kind="stable")
    same = pair[order][1:] == pair[order][:-1]
    after, before = np.full(len(pair), np.inf), np.full(len(pair), -np.inf)
    after[order[:-1][same]] = second[order[1:][same]]
    before[order[1:][same]] = second[order[:-1][same]]
    return Log(items, item, user, second, after, before, float(second[0]))


def _in_order(values: pa.Array) -> pa.Array:
    return values.take(pc.sort_indices(values))


def forecast(log: Log, end: float, horizon: float, cuts: int) -> pa.Table | None:
    """The share of the demand of the horizon after ``end`` that each item is expected to have.

    In the demand a user with n items counts for 1 / IDCG(min(n, 20)) of each: the list of the largest shares has the largest
    expected NDCG@20, where all users are given the same list.

    Args:
        log: up to ``end``.
        end: in seconds since 1970.
        horizon: in seconds.
        cuts: the most earlier instants to learn from.

    Returns:
        item_id and expected_demand f32 of the items that are forecast, in the order of ``log.items``; None where there is
        no cut whose horizon is over, or no demand after any for items that were there.
    """
    rows, labels = [], []
    for cut in (end - horizon * (1 + k / CUTS_A_HORIZON) for k in range(cuts)):
        if cut < log.start + horizon * STEPS["4th"]:
            break
        at, features = _items_at(log, cut, horizon)
        wanted = demand(log, cut, horizon)
        if wanted[at].any():
            rows.append(features)
            labels.append(wanted[at] / wanted.sum() * UNIT)
    if not rows:
        return None
    at, now = _items_at(log, end, horizon)
    if not len(at):
        return None
    share = _trees(np.concatenate(rows), np.concatenate(labels), now) / UNIT
    return pa.table({ITEM: log.items.take(pa.array(at)), "expected_demand": pa.array(share, pa.float32())})


def _trees(features: Array, label: Array, now: Array) -> Array:
    """The mean forecast of a model for each seed: float64 (items,)."""
    import lightgbm

    data = lightgbm.Dataset(features, label, free_raw_data=False, params=OPTIONS)
    models = (lightgbm.train(OPTIONS | {"seed": seed}, data, TREES) for seed in SEEDS)
    return np.mean([model.predict(now) for model in models], 0)


def _items_at(log: Log, cut: float, horizon: float) -> tuple[Array, Array]:
    """The items that are learned from at a cut, int64 (items,), and what trees read of them, float64 (items, features).

    These are, of each step, the item's share of all users and its place; of neighbouring steps the ratio of users; the ages of
    the first event that was read and of the newest, in horizons.
    """
    lengths = np.array([STEPS[step] for step in COUNTED])
    size, steps = len(log.items), len(lengths)
    stop = int(np.searchsorted(log.second, cut, "left"))
    start = int(np.searchsorted(log.second, cut - horizon * lengths[-1], "left"))
    newest = log.next[start:stop] >= cut  # a user's newest event with the item, so that each counts once
    item, age = log.item[start:stop][newest], (cut - log.second[start:stop][newest]) / horizon
    step = np.minimum(np.searchsorted(lengths, age, "left"), steps - 1)
    users = np.bincount(item.astype(np.int64) * steps + step, minlength=size * steps).reshape(size, steps).cumsum(1)
    places = np.stack([_places(users[:, k]) for k in range(steps)], 1)
    at = np.flatnonzero((places <= BEST).any(1))
    last = np.full(size, np.nan)
    last[item] = age  # ascending in time: the newest is written last
    first = np.full(size, np.nan)
    first[log.item[:stop][::-1]] = (cut - log.second[:stop][::-1]) / horizon
    count = users[at].astype(float)
    total = np.maximum(users.sum(0), 1)
    trends = (count[:, :-1] + 1) / (count[:, 1:] + 1)
    known = np.minimum(first[at], STEPS[COUNTED[-1]])  # every cut sees so far back
    return at, np.column_stack([count / total, places[at], trends, known, last[at]])


def _places(users: Array) -> Array:
    """1 = most users, equal counts alike, NaN without any: float64 (items,)."""
    ascending = np.sort(users)
    place = len(users) - np.searchsorted(ascending, users, "right") + 1.0
    return np.where(users > 0, place, np.nan)


def demand(log: Log, cut: float, horizon: float) -> Array:
    """What users took in the horizon after a cut, as `forecast` counts it: float64 (items,)."""
    start, stop = np.searchsorted(log.second, [cut, cut + horizon], "left")
    once = log.previous[start:stop] < cut
    user, item = log.user[start:stop][once], log.item[start:stop][once]
    if not len(user):
        return np.zeros(len(log.items))
    many = np.bincount(user)
    ideal = np.cumsum(1 / np.log2(np.arange(DEPTH) + 2))
    return np.bincount(item, 1 / ideal[np.minimum(many[user], DEPTH) - 1], minlength=len(log.items))
