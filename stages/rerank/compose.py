"""One list per user from relevance and rules: order, caps, pins, filling and the exploration slot."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from stages.rerank import diversity, explore
from stages.rerank.diversity import Codes, Mask, Matrix


@dataclass(frozen=True)
class ListRules:
    """What a list must obey; the defaults are the plain order. Matrices are (users, candidates)."""

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
class ComposedLists:
    """The lists of all users; matrices are (users, candidates), columns as given."""

    place: Codes
    """1 = top of the list; 0 = not in it."""
    propensity: Matrix
    """Probability of being in the list; a row sums to the list's length."""
    filled: Mask
    """Placed above a cap to reach the minimum length."""
    greedy: Mask
    """Would be in the list without exploration."""


def compose(relevance: Matrix, allowed: Mask, rules: ListRules, chance: NDArray[np.float64]) -> ComposedLists:
    """Make every user's list.

    Args:
        relevance: (users, candidates), what the list is ordered by; ties keep column order.
        allowed: False for padding and blocked candidates.
        rules: the steps of the list.
        chance: (users,) in [0, 1), where the exploration draw falls.
    """
    best = np.argsort(np.where(allowed, -relevance, np.inf), axis=1, kind="stable")
    if (best[:, 1:] > best[:, :-1]).all():
        return _compose(relevance, allowed, rules, chance)
    back = np.argsort(best, axis=1)

    def by_relevance(values: NDArray) -> NDArray:
        return np.take_along_axis(values, best, axis=1)

    pins = rules.pins
    if pins is not None:
        pins = np.where(pins >= 0, np.take_along_axis(back, np.maximum(pins, 0), axis=1), -1).astype(np.int32)
    rules = replace(
        rules,
        kinds=tuple((weight, by_relevance(codes)) for weight, codes in rules.kinds),
        categories=None if rules.categories is None else by_relevance(rules.categories),
        caps=None if rules.caps is None else by_relevance(rules.caps),
        pins=pins,
    )
    lists = _compose(by_relevance(relevance), by_relevance(allowed), rules, chance)
    return ComposedLists(*(np.take_along_axis(each, back, axis=1) for each in vars(lists).values()))


def _compose(relevance: Matrix, allowed: Mask, rules: ListRules, chance: NDArray[np.float64]) -> ComposedLists:
    users, width = relevance.shape
    categories = np.full(relevance.shape, -1, np.int32) if rules.categories is None else rules.categories
    top = relevance.max(axis=1, initial=0.0)[:, None]
    relative = relevance / np.where(top > 0, top, 1)  # one trade-off then fits timid and confident scores alike
    order = diversity.choose(relative, allowed, rules.kinds, rules.trade, rules.n, categories, rules.caps, rules.pins)
    filled_at = diversity.fill(order, allowed, rules.minimum)
    greedy = places(order, width)
    filled = places(np.where(filled_at, order, -1), width) > 0
    propensity = (greedy > 0).astype(float)
    if rules.epsilon and rules.position < rules.n and width:
        fixed = filled if rules.pins is None else filled | (places(rules.pins, width) > 0)
        slot = order[:, rules.position]
        rows = np.flatnonzero((slot >= 0) & ~fixed[np.arange(users), slot])
        eligible = allowed[rows] & (greedy[rows] == 0)
        if rules.caps is not None:
            rest = order[rows]
            rest[:, rules.position] = -1
            eligible &= diversity.counts(rest, categories[rows]) < rules.caps[rows]
        chances = explore.propensities(
            order[rows],
            rules.position,
            relative[rows],
            eligible,
            rules.epsilon,
            rules.pool,
            rules.temperature,
        )
        propensity[rows] = np.where(chances > 0, chances, propensity[rows])
        order[rows, rules.position] = explore.draw(chances, chance[rows])
    return ComposedLists(places(order, width), propensity, filled, greedy > 0)


def places(order: Codes, width: int) -> Codes:
    """The position (1 = top) at which ``order`` (users, n) holds each of ``width`` columns, else 0."""
    place = np.zeros((len(order), width), np.int32)
    which, at = np.nonzero(order >= 0)
    place[which, order[which, at]] = at + 1
    return place
