"""What users do with what they are shown: the probabilities from which both the log and the truth are made."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from narrows.world import draw
from narrows.world.items import Catalogue
from narrows.world.settings import World
from narrows.world.users import Users

Floats = NDArray[np.floating]


def logit(probability: float) -> float:
    """The log-odds of a probability."""
    return float(np.log(probability / (1 - probability)))


def sigmoid(log_odds: Floats) -> Floats:
    """The probability of log-odds; the argument is overwritten."""
    np.negative(log_odds, out=log_odds)
    np.exp(log_odds, out=log_odds)
    log_odds += 1
    return np.reciprocal(log_odds, out=log_odds)


def common(world: World, catalogue: Catalogue, day: int) -> NDArray[np.float32]:
    """[items]: the part of the log-odds of a view that is the same for all users on a day."""
    appeal = np.float32(world.appeal) * catalogue.popularity
    return np.float32(logit(world.views)) + appeal + catalogue.fresh(world, day)


def own(world: World, users: Users, who: NDArray[np.integer], items: NDArray[np.integer]) -> NDArray[np.float32]:
    """[sessions, n]: the part that belongs to a user and an item: the unexplained one, and loyalty to staples.

    Args:
        world: the settings.
        users: some users.
        who: the place of each session's user among them.
        items: [sessions, n].
    """
    part = np.zeros(items.shape, np.float32)
    if world.noise:
        part += np.float32(world.noise) * draw.nearly_normal(
            draw.stream(world.seed, "noise"), users.number[who][:, None] * world.items + items
        )
    if world.loyalty:
        staples = users.staples[who]
        is_staple = np.zeros(items.shape, bool)
        for column in range(world.staples):
            is_staple |= items == staples[:, column, None]
        part += np.float32(world.loyalty) * is_staple
    return part


def examined(world: World) -> NDArray[np.float64]:
    """[list_length]: the probability that each position is examined."""
    return np.arange(1, world.list_length + 1.0) ** -world.position_bias


def purchased(world: World, catalogue: Catalogue) -> NDArray[np.float32]:
    """[items]: the probability that an item in the cart is purchased."""
    return sigmoid(np.float32(logit(world.purchases)) + catalogue.quality).astype(np.float32)


def session_shares(world: World, day: NDArray[np.integer] | int) -> Floats:
    """How many sessions a day has, as a multiple of an average day; Saturday has the most."""
    weekday = (np.asarray(day) + world.begin.weekday()) % 7
    return 1 + world.week * np.cos(2 * np.pi * (weekday - 5) / 7)
