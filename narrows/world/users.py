"""Users: interests, when they have them, staples, activity, the day they join."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from narrows.world import draw
from narrows.world.items import Catalogue, unit
from narrows.world.settings import World

JOINED_BEFORE = -1
SEGMENT_BY_TASTE = 0.7
"""Share of the users whose segment is the category of their main interest; the others' is any."""
CONCENTRATION = 0.5
"""Of the exponential weights of interests: below 1, one of them is the main one."""


@dataclass(frozen=True)
class Users:
    """Some users; the first axis of every array."""

    number: NDArray[np.int64]
    """The user_id."""
    interests: NDArray[np.float32]
    """[users, interests, taste_size], of length 1."""
    weights: NDArray[np.float32]
    """[users, interests]: the share of sessions with each interest, were there no hours."""
    peaks: NDArray[np.float32]
    """[users, interests]: the hour at which each is strongest."""
    staples: NDArray[np.int32]
    """[users, staples]: items."""
    activity: NDArray[np.float32]
    """The own rate of sessions, 1 = average."""
    joined: NDArray[np.int32]
    """The day from which on there are sessions."""
    segment: NDArray[np.int16]

    def __len__(self) -> int:
        return len(self.number)

    def take(self, places: ArrayLike) -> Users:
        """These of them, in this order."""
        where = np.asarray(places)
        return Users(**{name: np.asarray(column[where]) for name, column in self.columns().items()})

    def columns(self) -> dict[str, Any]:
        """The arrays by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def shares(self, world: World, hours: NDArray[np.floating]) -> NDArray[np.float64]:
        """[users, interests]: the probability of each interest in a session at an hour (one for each user)."""
        angle = (np.asarray(hours, np.float64)[:, None] - self.peaks) * (2 * np.pi / 24)
        odds = self.weights * np.exp(world.interest_hours * np.cos(angle))
        return odds / odds.sum(1, keepdims=True)


def users(world: World, catalogue: Catalogue, first: int, end: int) -> Users:
    """The users from ``first`` to ``end``; they do not depend on which others are made with them."""
    number, interest = np.arange(first, end), np.arange(world.interests)
    who = number[:, None]

    def chance(name: str, *counters: Any) -> NDArray[np.float64]:
        return draw.uniform(draw.stream(world.seed, name), *counters)

    group = _groups(catalogue, chance("interest group", who, interest))
    step = draw.normal(
        draw.stream(world.seed, "interest"), number[:, None, None], interest[:, None], np.arange(world.taste_size)
    )
    interests = unit(catalogue.centres[group] + world.spread / world.taste_size**0.5 * step)
    weights = (-np.log1p(-chance("weight", who, interest)) + 1e-9) ** (1 / CONCENTRATION)
    weights /= weights.sum(1, keepdims=True)
    rate = np.exp(world.activity * draw.normal(draw.stream(world.seed, "activity"), number) - world.activity**2 / 2)
    joins = chance("joins", number)
    joined = np.where(joins < world.new_users, np.floor(chance("joined", number) * world.days), JOINED_BEFORE)
    main = catalogue.category[np.take_along_axis(group, weights.argmax(1)[:, None], 1)[:, 0]]
    categories = int(catalogue.category.max()) + 1
    any_segment = np.floor(chance("any segment", number) * categories)
    return Users(
        number, interests, weights.astype(np.float32), (24 * chance("peak", who, interest)).astype(np.float32),
        _staples(world, catalogue, group, chance("staple", who, np.arange(world.staples))),
        rate.astype(np.float32), joined.astype(np.int32),
        np.where(chance("segment", number) < SEGMENT_BY_TASTE, main, any_segment).astype(np.int16),
    )  # fmt: skip


def _groups(catalogue: Catalogue, chance: NDArray[np.float64]) -> NDArray[np.int64]:
    """Subcategories, with odds as their numbers of items."""
    share = np.cumsum(np.diff(catalogue.starts)) / len(catalogue.group)
    return np.searchsorted(share[:-1], chance, side="right")


def _staples(
    world: World, catalogue: Catalogue, group: NDArray[np.int64], chance: NDArray[np.float64]
) -> NDArray[np.int32]:
    """Items of the groups of the interests in turn, the popular ones sooner; only such as were there before the log."""
    weight = np.where(catalogue.born <= 0, np.exp(world.popularity * catalogue.popularity.astype(np.float64)), 0)
    ends = np.cumsum(weight)
    starts = np.concatenate([[0.0], ends])[catalogue.starts]
    of = group[:, np.arange(world.staples) % world.interests]
    low, high = starts[of], starts[of + 1]
    everywhere = high <= low  # a subcategory that has no old item
    low, high = np.where(everywhere, 0, low), np.where(everywhere, ends[-1], high)
    found = np.searchsorted(ends, low + chance * (high - low), side="right")
    return np.minimum(found, np.flatnonzero(weight)[-1]).astype(np.int32)
