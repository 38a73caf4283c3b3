"""What the log will hold: the probability of every purchase in a span of days, under the logging policy."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from narrows.world.behaviour import session_shares
from narrows.world.policy import propensities
from narrows.world.sessions import hour_density
from narrows.world.settings import World
from narrows.world.truth import Truth
from narrows.world.users import Users

Floats = NDArray[np.float64]


def taken(truth: Truth, who: ArrayLike, first_day: int, end_day: int) -> Floats:
    """[users, items]: the probability that a session from ``first_day`` on, before ``end_day``, leads to a purchase.

    Sessions are a Poisson process, so those that lead to the purchase of one item are one too. Memory: some arrays of
    [users, items, interests].
    """
    world, chosen = truth.world, truth.users.take(who)
    shares, sought = _mean_shares(world, chosen), _sought(world, chosen, truth.purchased)
    every = np.broadcast_to(np.arange(world.items), sought.shape)
    rate = np.zeros(sought.shape)
    for day in range(first_day, end_day):
        chance = truth.probabilities(who, every, world.instant(day))
        shown = np.einsum("unk,uk->un", chance, shares) * _examined(truth, chosen, day)
        visits = world.sessions_per_day * chosen.activity * session_shares(world, day) * (chosen.joined <= day)
        rate += visits[:, None] * (1 - (1 - shown) * (1 - sought))
    return -np.expm1(-rate)


def worth(truth: Truth, who: ArrayLike, day: int) -> dict[str, float]:
    """Expected purchases from the list of one session on a day, the mean over some users, of three ways to make lists.

    ``logging``: the policy's own lists; ``popular``: the most popular items for all; ``oracle``: the best there is.
    """
    world, chosen, noon = truth.world, truth.users.take(who), truth.world.instant(day, 12)
    wanted = np.concatenate(list(truth.wanted(who, noon)))
    odds = world.popularity * truth.catalogue.popularity + truth.catalogue.fresh(world, day)
    popular = np.argsort(-np.where(truth.catalogue.born <= day, odds, -np.inf))[: world.list_length]
    lists = {
        "popular": np.broadcast_to(popular, (len(chosen), len(popular))),
        "oracle": truth.oracle(who, noon),
    }
    logging = float((wanted * _examined(truth, chosen, day)).sum(1).mean())
    return {"logging": logging} | {
        name: float(truth.value(who, shown, noon).expected.mean()) for name, shown in lists.items()
    }


def _mean_shares(world: World, chosen: Users) -> Floats:
    """[users, interests]: the probability of each interest in a session of any hour."""
    hours, density = hour_density(world)
    mean = np.zeros(chosen.weights.shape)
    for hour, weight in zip(hours, density, strict=True):
        mean += weight * chosen.shares(world, np.full(len(chosen), hour))
    return mean


def _sought(world: World, chosen: Users, purchased: NDArray[np.float32]) -> Floats:
    """[users, items]: the probability that a session seeks the item and purchases it."""
    chance = np.zeros((len(chosen), world.items))
    for staple in chosen.staples.T:
        chance[np.arange(len(chosen)), staple] += world.repeat / world.staples
    return chance * purchased


def _examined(truth: Truth, chosen: Users, day: int) -> Floats:
    """[users, items]: the probability that a session of a day shows the item at a position that is examined."""
    world = truth.world
    propensity, begin = propensities(world, truth.catalogue, chosen, day)
    edges = np.arange(world.list_length + 1.0)
    seen = np.concatenate([[0], np.cumsum(edges[1:] ** -world.position_bias)])
    in_order = np.interp(begin + propensity, edges, seen) - np.interp(begin, edges, seen)
    return (1 - world.shuffled) * in_order + world.shuffled * propensity * seen[-1] / world.list_length
