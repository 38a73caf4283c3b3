"""The rows of the log: what each session showed, and what its user then did."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from narrows.world import draw
from narrows.world.behaviour import common, examined, own, purchased, sigmoid
from narrows.world.items import Catalogue
from narrows.world.policy import Estimate, Lists, shelf, show
from narrows.world.sessions import MICROSECONDS, Sessions, sessions
from narrows.world.settings import World
from narrows.world.users import Users

if TYPE_CHECKING:
    import pyarrow as pa

KINDS = ("impression", "view", "cart", "purchase", "return")
IMPRESSION, VIEW, CART, PURCHASE, RETURN = range(len(KINDS))
DEVICES = ("phone", "desktop", "tablet")
SECONDS_A_POSITION = 4
RETURN_DAYS = 6.0
"""Days from a purchase to its return, on average, after the first."""
SOUGHT = 1 << 10
"""Counters of what is drawn for the sought item of a session lie above those of the shown ones."""


@dataclass(frozen=True)
class Acts:
    """What was done with single items: the rows that are no impression. One axis."""

    session: NDArray[np.int64]
    """The place of the session among those of the day."""
    item: NDArray[np.int64]
    counter: NDArray[np.int64]
    """Tells the items of a session apart."""
    position: NDArray[np.int64]
    """0 where the item was sought, not shown."""
    propensity: NDArray[np.float64]
    time: NDArray[np.int64]
    """Microseconds since 1970."""
    kind: int

    def where(self, chosen: NDArray[np.bool_]) -> Acts:
        """Those of them."""
        columns = {each.name: getattr(self, each.name) for each in fields(self)}
        return Acts(**{name: value if name == "kind" else value[chosen] for name, value in columns.items()})


def day_of_log(world: World, catalogue: Catalogue, users: Users, known: Estimate, day: int) -> list[pa.Table]:
    """The rows of some users' sessions that begin on a day: the impressions, and all others.

    Args:
        world: the settings.
        catalogue: of the world.
        users: some of its users.
        known: the policy's estimate of them.
        day: 0 = the first.
    """
    visits = sessions(world, users, day)
    lists = show(world, shelf(world, catalogue, day), known, visits.who, visits.random)
    seen = [viewed(world, catalogue, users, visits, lists, day), sought(world, users, visits)]
    return [_impressions(users, visits, lists), _acts(world, catalogue, users, visits, seen)]


def viewed(world: World, catalogue: Catalogue, users: Users, visits: Sessions, lists: Lists, day: int) -> Acts:
    """The shown items that were examined and found attractive."""
    interests = users.interests[visits.who, visits.interest]
    log_odds = np.matmul(catalogue.vectors[lists.items], interests[:, :, None])[:, :, 0]
    log_odds *= np.float32(world.taste)
    log_odds += common(world, catalogue, day)[lists.items]
    log_odds += own(world, users, visits.who, lists.items)
    chance = sigmoid(log_odds)
    chance *= examined(world).astype(np.float32)[lists.positions - 1]
    columns = np.arange(lists.items.shape[1])
    took = draw.uniform(visits.random[:, None], 16 + columns) < chance
    session, column = np.nonzero(took)
    position = lists.positions[session, column]
    return Acts(
        session, lists.items[session, column], column, position, lists.propensity[session, column],
        visits.begin[session] + SECONDS_A_POSITION * position * MICROSECONDS, VIEW,
    )  # fmt: skip


def sought(world: World, users: Users, visits: Sessions) -> Acts:
    """The staples that users came for."""
    session = np.flatnonzero(draw.uniform(visits.random, 9) < world.repeat)
    which = np.floor(world.staples * draw.uniform(visits.random[session], 10)).astype(np.int64)
    nothing = np.zeros(len(session), np.int64)
    return Acts(
        session, users.staples[visits.who[session], which].astype(np.int64), nothing + SOUGHT, nothing,
        nothing.astype(np.float64), visits.begin[session] + MICROSECONDS, VIEW,
    )  # fmt: skip


def followed(world: World, catalogue: Catalogue, visits: Sessions, views: Acts) -> list[Acts]:
    """The views, and what came of them: carts, purchases, returns."""

    def chance(acts: Acts, step: int) -> NDArray[np.float64]:
        return draw.uniform(visits.random[acts.session], 32, acts.counter, step)

    def later(acts: Acts, kind: int, seconds: NDArray[np.floating]) -> Acts:
        return replace(acts, kind=kind, time=acts.time + seconds.astype(np.int64) * MICROSECONDS)

    carts = views.where((views.position == 0) | (chance(views, 1) < world.carts))
    carts = later(carts, CART, 1 + np.floor(30 * chance(carts, 2)))
    bought = carts.where(chance(carts, 3) < purchased(world, catalogue)[carts.item])
    bought = later(bought, PURCHASE, 1 + np.floor(600 * chance(bought, 4)))
    back = bought.where(chance(bought, 5) < world.returns)
    back = later(back, RETURN, 86_400 * (1 - RETURN_DAYS * np.log1p(-chance(back, 6))))
    return [views, carts, bought, back]


def device(visits: Sessions) -> NDArray[np.int8]:
    """The context of every session: desktops at midday, phones at other hours."""
    chance = draw.uniform(visits.random, 11)
    desktop = 0.3 + 0.25 * np.cos(2 * np.pi * (visits.hour - 13) / 24)
    return np.where(chance < desktop, 1, np.where(chance > 0.93, 2, 0)).astype(np.int8)


def _impressions(users: Users, visits: Sessions, lists: Lists) -> pa.Table:
    import pyarrow as pa

    count, length = lists.items.shape
    rows = count * length
    begin = np.repeat(visits.begin, length)
    return _table({
        "user_id": np.repeat(users.number[visits.who].astype(np.int32), length),
        "item_id": lists.items.ravel().astype(np.int32),
        "event_time": begin,
        "ingested_at": np.repeat(visits.begin + visits.delay, length),
        "event_type": pa.DictionaryArray.from_arrays(np.full(rows, IMPRESSION, np.int8), KINDS),
        "value": pa.nulls(rows, pa.float32()),
        "price": pa.nulls(rows, pa.float32()),
        "context": pa.DictionaryArray.from_arrays(np.repeat(device(visits), length), DEVICES),
        "session_id": np.repeat(visits.number, length),
        "position": lists.positions.ravel().astype(np.int16),
        "propensity": lists.propensity.ravel().astype(np.float32),
    })  # fmt: skip


def _acts(world: World, catalogue: Catalogue, users: Users, visits: Sessions, seen: list[Acts]) -> pa.Table:
    import pyarrow as pa

    parts = [each for views in seen for each in followed(world, catalogue, visits, views)]
    kind = np.repeat(np.array([each.kind for each in parts], np.int8), [len(each.item) for each in parts])

    def joined(name: str) -> NDArray[np.generic]:
        return np.concatenate([getattr(each, name) for each in parts])

    session, item, time, position = joined("session"), joined("item"), joined("time"), joined("position")
    more = draw.uniform(visits.random[session], 33, joined("counter")) < 0.2
    of_session = kind < RETURN
    return _table({
        "user_id": users.number[visits.who[session]].astype(np.int32),
        "item_id": item.astype(np.int32),
        "event_time": time,
        "ingested_at": time + np.where(of_session, visits.delay[session], 60 * MICROSECONDS),
        "event_type": pa.DictionaryArray.from_arrays(kind, KINDS),
        "value": pa.array(1 + more, pa.float32(), mask=kind < PURCHASE),
        "price": pa.array(catalogue.price[item]),
        "context": pa.DictionaryArray.from_arrays(device(visits)[session], DEVICES),
        "session_id": visits.number[session],
        "position": pa.array(position.astype(np.int16), mask=position == 0),
        "propensity": pa.array(joined("propensity").astype(np.float32), mask=position == 0),
    })  # fmt: skip


def _table(columns: dict[str, object]) -> pa.Table:
    import pyarrow as pa

    return pa.table(columns, schema=schema())


def schema() -> pa.Schema:
    """The columns of the log."""
    import pyarrow as pa

    text, time = pa.dictionary(pa.int8(), pa.string()), pa.timestamp("us", tz="UTC")
    return pa.schema([
        ("user_id", pa.int32()), ("item_id", pa.int32()), ("event_time", time), ("ingested_at", time),
        ("event_type", text), ("value", pa.float32()), ("price", pa.float32()), ("context", text),
        ("session_id", pa.int64()), ("position", pa.int16()), ("propensity", pa.float32()),
    ])  # fmt: skip
