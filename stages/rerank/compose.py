"""One list per user from relevance and a recipe: order, caps, pins, filling and the exploration slot."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stages.rerank import diversity, explore
from stages.rerank.diversity import Codes, Mask, Matrix


@dataclass(frozen=True)
class Recipe:
    """What a list is made with; the defaults are the plain order. Matrices are (users, candidates)."""

    n: int
    trade: float = 1.0
    kinds: tuple[tuple[float, Codes], ...] = ()
    categories: Codes | None = None
    caps: NDArray[np.int32] | None = None
    pins: Codes | None = None
    """(users, n), the column pinned at each position; -1 = none."""
    minimum: int = 0
    epsilon: float = 0.0
    pool: int = 0
    temperature: float = 1.0
    position: int = 0
    """The exploration slot; 0 = top."""


@dataclass(frozen=True)
class Lists:
    """The lists of all users; matrices are (users, candidates), columns as given."""

    place: Codes
    """1 = top of the list; 0 = not in it."""
    propensity: Matrix
    """Probability of being in the list; a row sums to the list's length."""
    filled: Mask
    """Placed above a cap to reach the minimum length."""
    greedy: Mask
    """Would be in the list without exploration."""


def compose(relevance: Matrix, allowed: Mask, recipe: Recipe, chance: NDArray[np.float64]) -> Lists:
    """Make every user's list.

    Args:
        relevance: (users, candidates), what the list is ordered by; ties keep column order.
        allowed: False for padding and blocked candidates.
        recipe: the steps.
        chance: (users,) in [0, 1), where the exploration draw falls.
    """
    best = np.argsort(np.where(allowed, -relevance, np.inf), axis=1, kind="stable")
    if (best[:, 1:] > best[:, :-1]).all():
        return _compose(relevance, allowed, recipe, chance)
    back = np.argsort(best, axis=1)

    def by_relevance(values: NDArray) -> NDArray:
        return np.take_along_axis(values, best, axis=1)

    pins = recipe.pins
    if pins is not None:
        pins = np.where(pins >= 0, np.take_along_axis(back, np.maximum(pins, 0), axis=1), -1).astype(np.int32)
    recipe = replace(
        recipe,
        kinds=tuple((weight, by_relevance(codes)) for weight, codes in recipe.kinds),
        categories=None if recipe.categories is None else by_relevance(recipe.categories),
        caps=None if recipe.caps is None else by_relevance(recipe.caps),
        pins=pins,
    )
    made = _compose(by_relevance(relevance), by_relevance(allowed), recipe, chance)
    return Lists(*(np.take_along_axis(each, back, axis=1) for each in vars(made).values()))


def _compose(relevance: Matrix, allowed: Mask, recipe: Recipe, chance: NDArray[np.float64]) -> Lists:
    users, width = relevance.shape
    categories = np.full(relevance.shape, -1, np.int32) if recipe.categories is None else recipe.categories
    top = relevance.max(axis=1, initial=0.0)[:, None]
    relative = relevance / np.where(top > 0, top, 1)  # one trade-off then fits timid and confident scores alike
    order = diversity.choose(
        relative, allowed, recipe.kinds, recipe.trade, recipe.n, categories, recipe.caps, recipe.pins
    )
    filled_at = diversity.fill(order, allowed, recipe.minimum)
    greedy = places(order, width)
    filled = places(np.where(filled_at, order, -1), width) > 0
    propensity = (greedy > 0).astype(float)
    if recipe.epsilon and recipe.position < recipe.n and width:
        fixed = filled if recipe.pins is None else filled | (places(recipe.pins, width) > 0)
        slot = order[:, recipe.position]
        rows = np.flatnonzero((slot >= 0) & ~fixed[np.arange(users), slot])
        eligible = allowed[rows] & (greedy[rows] == 0)
        if recipe.caps is not None:
            rest = order[rows]
            rest[:, recipe.position] = -1
            eligible &= diversity.counts(rest, categories[rows]) < recipe.caps[rows]
        chances = explore.propensities(
            order[rows],
            recipe.position,
            relative[rows],
            eligible,
            recipe.epsilon,
            recipe.pool,
            recipe.temperature,
        )
        propensity[rows] = np.where(chances > 0, chances, propensity[rows])
        order[rows, recipe.position] = explore.draw(chances, chance[rows])
    return Lists(places(order, width), propensity, filled, greedy > 0)


def places(order: Codes, width: int) -> Codes:
    """The position (1 = top) at which ``order`` (users, n) holds each of ``width`` columns, else 0."""
    place = np.zeros((len(order), width), np.int32)
    which, at = np.nonzero(order >= 0)
    place[which, order[which, at]] = at + 1
    return place
