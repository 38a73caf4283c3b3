"""Widths request by request under one budget: the Lagrangian knapsack of DCAF (Jiang et al. 2020, arXiv 2006.09684).

Of every request a value curve says what each width is worth. The sum of values is greatest, within a budget of the summed
cost, where each request takes the width with the greatest ``value - price * cost`` for one price of compute (DCAF eq. 6);
the price is found by bisection, for the spending falls as it rises. The Lagrangian finds only points of
the curves' concave hulls: curves are made monotone and concave first, by pooling gains a unit of cost.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heapify, heappop, heappush

import numpy as np
from numpy.typing import NDArray

from narrows.codesign.errors import CodesignError

Array = NDArray[np.float64]
STEPS = 100
"""Of the bisection: beyond the digits of a float64."""


@dataclass(frozen=True)
class Allocation:
    """A width for each request."""

    choice: NDArray[np.int64]
    """[requests]: the number of the width, 0 = the smallest."""
    price: float
    """Value a unit of cost at the budget's edge: what the next unit of compute buys. 0 where the budget suffices for all."""
    spent: float
    """The summed cost."""


def pooled(value: Array, cost: Array) -> Array:
    """Curves made monotone and concave in the cost: the gains a unit of cost, pooled until they fall and none is below 0.

    That is the least concave majorant: isotonic regression of the slopes (Barlow et al. 1972). Its corners are
    points of the curve itself.

    Args:
        value: [requests, widths]
        cost: [widths], rising, or [requests, widths]
    """
    from scipy.optimize import isotonic_regression

    steps = np.diff(np.broadcast_to(cost, value.shape), axis=1)
    if (steps <= 0).any():
        raise CodesignError("the cost of a width must rise from width to width: sort them")
    slopes = np.diff(value, axis=1) / steps
    bad = np.flatnonzero((np.diff(slopes, axis=1) > 0).any(1))
    for request in bad:
        slopes[request] = isotonic_regression(slopes[request], weights=steps[request], increasing=False).x
    rises = np.maximum(slopes, 0) * steps
    return np.concatenate([value[:, :1], value[:, :1] + np.cumsum(rises, axis=1)], axis=1)


def at_price(value: Array, cost: Array, price: float) -> NDArray[np.int64]:
    """[requests]: the width with the greatest ``value - price * cost``; of equal ones the smallest.

    This is all that serving needs: no request waits for another.
    """
    return np.argmax(value - price * np.broadcast_to(cost, value.shape), axis=1).astype(np.int64)


def allocate(value: Array, cost: Array, budget: float) -> Allocation:
    """The widths with the greatest summed value within a budget, all requests known.

    Args:
        value: [requests, widths]; it is `pooled` first.
        cost: [widths], rising, or [requests, widths]
        budget: of the summed cost.

    Raises:
        CodesignError: the budget is below the cost of the smallest widths.
    """
    curves, costs = pooled(value, cost), np.broadcast_to(np.asarray(cost, float), value.shape)
    rows = np.arange(len(curves))
    if costs[:, 0].sum() > budget * (1 + 1e-12):
        raise CodesignError(f"a budget of {budget:g} is below {costs[:, 0].sum():g}, the cost of the smallest widths")
    price = price_of(curves, costs, budget)
    choice = at_price(curves, costs, price)
    choice = _filled(curves, costs, choice, budget)
    return Allocation(choice, price, float(costs[rows, choice].sum()))


def price_of(value: Array, cost: Array, budget: float) -> float:
    """The lowest price at which the requests spend no more than the budget.

    Args:
        value: [requests, widths], monotone and concave.
        cost: [widths] or [requests, widths]
        budget: of the summed cost.
    """
    costs = np.broadcast_to(np.asarray(cost, float), value.shape)
    rows = np.arange(len(value))

    def spent(price: float) -> float:
        return float(costs[rows, at_price(value, costs, price)].sum())

    if spent(0.0) <= budget:
        return 0.0
    low, high = 0.0, float((np.diff(value, axis=1) / np.diff(costs, axis=1)).max()) * (1 + 1e-9)
    for _ in range(STEPS):
        middle = (low + high) / 2
        if not low < middle < high:
            break
        low, high = (low, middle) if spent(middle) <= budget else (middle, high)
    return high


def _filled(value: Array, costs: Array, choice: NDArray[np.int64], budget: float) -> NDArray[np.int64]:
    """What is left of the budget spent on the best next steps that fit: requests of one slope all wait at one price.

    A step leads to the next corner of a curve: between corners a pooled curve promises what no width gives.
    """
    choice, left = choice.copy(), budget - costs[np.arange(len(value)), choice].sum()
    slopes = np.diff(value, axis=1) / np.diff(costs, axis=1)
    last = slopes.shape[1]

    def step(request: int) -> tuple[float, int, int]:
        first = end = int(choice[request])
        while end < last and slopes[request, end] >= slopes[request, first] * (1 - 1e-12):
            end += 1
        return (-float(slopes[request, first]) if first < last else 0.0), request, end

    heap = [step(request) for request in range(len(value))]
    heapify(heap)
    while heap and heap[0][0] < 0:
        _, request, end = heappop(heap)
        more = costs[request, end] - costs[request, choice[request]]
        if more <= left * (1 + 1e-12):
            left -= more
            choice[request] = end
            heappush(heap, step(request))
    return choice
