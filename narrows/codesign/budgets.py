"""Per-request widths against fixed ones: quality at equal compute and compute at equal quality, on requests that came later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from narrows.codesign.allocation import at_price
from narrows.codesign.curves import Curves, fixed_at, in_hindsight, out_of_sample, realised, signals
from narrows.codesign.log import Array, FlowLog
from narrows.codesign.seeds import Interval, Judged, drawn, interval

PRICES = 60
"""Prices at which the trade of cost for value is traced."""


@dataclass(frozen=True)
class Stages:
    """A part of a log with the scores of a cascade's two stages."""

    log: FlowLog
    first: Array
    """float64 [rows]"""
    second: Array
    """float64 [rows]"""

    @property
    def gain(self) -> Array:
        """float64 [rows]: what a candidate is worth: the truth where there is one, else the label."""
        return np.asarray(self.log.label if self.log.value is None else self.log.value, float)

    @property
    def weight(self) -> Array:
        """float64 [requests]: what each request counts."""
        return np.ones(len(self.log)) if self.log.request_weight is None else self.log.request_weight

    def half(self, later: bool) -> Stages:
        """The earlier or the later half of the requests."""
        middle = len(self.log) // 2
        chosen = np.arange(middle, len(self.log)) if later else np.arange(middle)
        cut = self.log.bounds[middle]
        rows = slice(cut, None) if later else slice(cut)
        return Stages(self.log.take(chosen), self.first[rows], self.second[rows])

    def values(self, widths: tuple[int, ...], discount: Array) -> Array:
        """[requests, widths]: what each width came to."""
        return realised(self.log.bounds, self.first, self.second, self.gain, widths, discount)

    def signals(self, narrow: int) -> Array:
        """[requests, signals]: what is known before the second stage."""
        return signals(self.log.bounds, self.first, (self.log.sequence > 0).sum(1), narrow)


@dataclass(frozen=True)
class Comparison:
    """At one budget."""

    budget: float
    """Mean cost a request, the budget that was set on earlier requests."""
    spent: float
    """Mean cost a request of the later ones: the price was learned earlier, so it may miss the budget."""
    fixed: float
    """Value of fixed widths at what was spent."""
    adaptive: Interval
    """More value of the widths by request, over users."""
    hindsight: float
    """Value at what was spent where every curve is known before: the most that there is to gain."""
    saved: float
    """Share of the compute that widths by request save at the value that fixed widths have at the budget: of what the cheapest fixed
    widths of this value take. Less than 0 = they take more; NaN = they do not reach it."""


def compared(
    earlier: Stages, later: Stages, widths: tuple[int, ...], cost: Array, budgets: Sequence[float], discount: Array
) -> list[Comparison]:
    """Learn curves on the earlier half of some requests, the price on their later half, and serve later requests.

    Of a sample each request counts for as many as it stands for.

    Args:
        earlier: requests before those that are served, which no model was trained on.
        later: the requests that are served.
        widths: candidates that may reach the second stage, rising.
        cost: [widths], of a request.
        budgets: mean costs a request.
        discount: [positions], what each position of the list counts.
    """
    first, second = earlier.half(False), earlier.half(True)
    curves = Curves.fit(first.signals(widths[0]), first.values(widths, discount), widths, cost, weight=first.weight)
    known, rows = second.signals(widths[0]), later.signals(widths[0])
    value, user, weight = later.values(widths, discount), later.log.user, later.weight
    predicted = curves.predict(rows)
    traced = _trace(predicted, value, curves.cost, weight)
    found = []
    for budget in budgets:
        trial = out_of_sample(curves, known, rows, value, budget, second.weight)
        spent = float(np.average(trial.cost, weights=weight))
        fixed = _mixed(value, curves.cost, spent)
        both = [Judged.of([each], user, weight) for each in (trial.value, fixed)]
        draws = drawn(both)
        more = interval(float(np.average(trial.value - fixed, weights=weight)), draws[0] - draws[1])
        target = fixed_at(value, curves.cost, budget, weight)
        needed, cheapest = (_cheapest(*line, target) for line in (traced, _fixed_trace(value, curves.cost, weight)))
        found.append(
            Comparison(
                budget,
                spent,
                float(np.average(fixed, weights=weight)),
                more,
                in_hindsight(value, curves.cost, max(spent, float(cost[0])), weight),
                1 - needed / cheapest,
            )
        )
    return found


def _trace(predicted: Array, value: Array, cost: Array, weight: Array) -> tuple[Array, Array]:
    """Mean costs and values of the served requests over many prices, both rising."""
    slopes = np.diff(predicted, axis=1) / np.diff(cost)
    top = float(slopes.max()) or 1.0
    at = np.arange(len(value))
    points = []
    for price in np.concatenate([[0.0], np.geomspace(top * 1e-5, top * 1.01, PRICES)]):
        choice = at_price(predicted, cost, price)
        points.append(tuple(float(np.average(each, weights=weight)) for each in (cost[choice], value[at, choice])))
    points.sort()
    costs, values = np.array(points).T
    return costs, np.maximum.accumulate(values)


def _fixed_trace(value: Array, cost: Array, weight: Array) -> tuple[Array, Array]:
    """The same of fixed widths."""
    costs = np.linspace(cost[0], cost[-1], 4 * PRICES)
    return costs, np.array([fixed_at(value, cost, each, weight) for each in costs])


def _cheapest(costs: Array, values: Array, target: float) -> float:
    """The least cost at which a rising line of values reaches the target, straight between points; NaN where it never does."""
    reached = np.flatnonzero(values >= target * (1 - 1e-9))
    if not len(reached):
        return float("nan")
    at = int(reached[0])
    if not at or values[at] <= values[at - 1]:
        return float(costs[at])
    return float(np.interp(target, values[at - 1 : at + 1], costs[at - 1 : at + 1]))


def _mixed(value: Array, cost: Array, spent: float) -> Array:
    """[requests]: the expected value where each request draws one of the two fixed widths around a mean cost."""
    above = int(np.clip(np.searchsorted(cost, spent), 1, len(cost) - 1))
    share = float(np.clip((spent - cost[above - 1]) / (cost[above] - cost[above - 1]), 0, 1))
    return np.asarray((1 - share) * value[:, above - 1] + share * value[:, above])
