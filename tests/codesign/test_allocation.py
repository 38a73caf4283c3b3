"""Widths under a budget: the knapsack against brute force, and an honest protocol on requests that came later."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from narrows.codesign.allocation import allocate, at_price, pooled, price_of
from narrows.codesign.budgets import Stages, compared
from narrows.codesign.curves import SIGNALS, Curves, fixed_at, in_hindsight, out_of_sample, realised, signals
from narrows.codesign.errors import CodesignError

COST = np.array([1.0, 2.0, 4.0, 7.0])
CURVES = st.lists(st.lists(st.integers(0, 20), min_size=4, max_size=4), min_size=1, max_size=4)


def best(value: np.ndarray, budget: float) -> float:
    """The greatest summed value within the budget, by trying everything."""
    rows = np.arange(len(value))
    found = (
        value[rows, list(choice)].sum()
        for choice in product(range(value.shape[1]), repeat=len(value))
        if COST[list(choice)].sum() <= budget + 1e-9
    )
    return float(max(found))


@given(CURVES, st.floats(0, 1))
@settings(max_examples=150, deadline=None)
def test_within_one_step_of_the_best_there_is(rows, share):
    value = np.sort(np.array(rows, float), axis=1)
    budget = len(value) * (1 + 6 * share)
    found = allocate(value, COST, budget)
    chosen = value[np.arange(len(value)), found.choice]
    assert found.spent <= budget + 1e-9
    assert found.spent == pytest.approx(COST[found.choice].sum())
    largest = (value[:, -1] - value[:, 0]).max()
    assert best(value, budget) - largest - 1e-9 <= chosen.sum() <= best(value, budget) + 1e-9


def test_exactly_the_best_where_the_price_spends_the_budget():
    value = np.array([[0, 5, 6, 6.5], [0, 1, 5, 8.0], [0, 0.1, 0.2, 0.3]])
    for price in (0.01, 0.2, 0.7, 1.2, 3, 9):
        budget = COST[at_price(pooled(value, COST), COST, price)].sum()
        found = allocate(value, COST, budget)
        assert value[np.arange(3), found.choice].sum() == pytest.approx(best(value, budget))


@given(CURVES)
@settings(max_examples=100, deadline=None)
def test_pooled_is_the_least_concave_monotone_curve_above(rows):
    value = np.array(rows, float)
    curves = pooled(value, COST)
    slopes = np.diff(curves, axis=1) / np.diff(COST)
    assert (slopes >= 0).all()
    assert (np.diff(slopes, axis=1) <= 1e-9).all()
    assert (curves >= value - 1e-9).all()
    assert np.allclose(curves[:, 0], value[:, 0])
    for line, curve in zip(value, curves, strict=True):  # the least: every corner is a point of the line or flat
        chords = [
            max(line[i] + (line[j] - line[i]) * (COST[at] - COST[i]) / (COST[j] - COST[i]) if j > i else line[i]
                for i in range(at + 1) for j in range(at, 4)) for at in range(4)
        ]  # fmt: skip
        assert np.allclose(curve, np.maximum.accumulate(chords))


def test_the_price_falls_with_the_budget_and_is_zero_where_all_fits():
    value = np.random.default_rng(0).random((200, 4)).cumsum(1)
    prices = [allocate(value, COST, budget).price for budget in (200, 400, 800, 1300, 1400)]
    assert prices == sorted(prices, reverse=True)
    assert prices[-1] == 0
    assert allocate(value, COST, 200).choice.max() == 0


def test_a_budget_below_the_smallest_widths_is_refused():
    with pytest.raises(CodesignError, match="below 2"):
        allocate(np.ones((2, 4)), COST, 1.5)
    with pytest.raises(CodesignError, match="must rise"):
        allocate(np.ones((2, 4)), COST[::-1], 99)


def test_realised_is_the_list_behind_each_width():
    bounds, gain = np.array([0, 4]), np.array([1.0, 2, 4, 8])
    first, second = np.array([4.0, 3, 2, 1]), np.array([1.0, 2, 3, 4])
    value = realised(bounds, first, second, gain, (1, 2, 4), np.array([1.0, 0.5]))
    assert value.tolist() == [[1, 2 + 0.5, 8 + 2]]


def requests(count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Requests with a confident or an unsure first stage: only the unsure ones gain from width."""
    random = np.random.default_rng(seed)
    bounds, unsure = np.arange(count + 1) * 40, random.random(count) < 0.3
    gain = (random.random(40 * count) < 0.15) * 1.0
    noise = np.repeat(np.where(unsure, 3.0, 0.1), 40)
    first = gain * np.repeat(np.where(unsure, 1.0, 3.0), 40) + noise * random.normal(size=len(gain))
    second = gain + 0.3 * random.normal(size=len(gain))
    widths = (5, 10, 20, 40)
    value = realised(bounds, first, second, gain, widths, 1 / np.log2(np.arange(2, 12)))
    return signals(bounds, first, np.zeros(count), 5), value, np.array(widths, float)


def test_learned_on_earlier_requests_it_beats_fixed_widths_on_later_ones():
    rows, value, cost = requests(3000, 0)
    later, worth, _ = requests(1500, 1)
    curves = Curves.fit(rows, value, (5, 10, 20, 40), cost)
    for budget in (10.0, 15.0):
        trial = out_of_sample(curves, rows, later, worth, budget)
        spent = trial.cost.mean()
        assert spent == pytest.approx(budget, rel=0.1)
        assert trial.value.mean() > fixed_at(worth, cost, spent) * 1.02
        assert trial.value.mean() < in_hindsight(worth, cost, spent)
    predicted = curves.predict(later)
    assert (np.diff(predicted, axis=1) >= 0).all()
    assert price_of(predicted, cost, 1e9) == 0


def test_signals_are_finite_for_awkward_requests():
    rows = signals(np.array([0, 0, 1, 4]), np.array([1.0, 2, 2, 2]), np.array([0, 1, 2]), 5)
    assert rows.shape == (3, len(SIGNALS))
    assert np.isfinite(rows).all()
    assert rows[0].tolist() == [0] * len(SIGNALS)


def stages(count: int, seed: int) -> Stages:
    """Requests as a log with the scores of two stages."""
    from narrows.codesign.log import FlowLog

    random = np.random.default_rng(seed)
    unsure = random.random(count) < 0.3
    gain = (random.random(40 * count) < 0.15) * 1.0
    noise, pull = (np.repeat(np.where(unsure, *pair), 40) for pair in ((3.0, 0.1), (1.0, 3.0)))
    rows = 40 * count
    log = FlowLog(
        stages=("a", "b"), columns=(), seen_from=np.zeros(0, np.int8), bounds=np.arange(count + 1) * 40, user=np.arange(count) // 3,
        time=np.arange(count), sequence=np.zeros((count, 2), np.int32), item=np.ones(rows, np.int32), features=np.zeros((rows, 0), np.float32),
        reached=np.ones(rows, np.int8), label=gain.astype(np.float32), weight=np.ones(rows, np.float32),
        score=np.zeros((rows, 2), np.float32), rank=np.zeros((rows, 2), np.int32),
    )  # fmt: skip
    return Stages(log, pull * gain + noise * random.normal(size=rows), gain + 0.3 * random.normal(size=rows))


def test_compared_gives_quality_at_equal_compute_and_compute_at_equal_quality():
    widths = (5, 10, 20, 40)
    found = compared(stages(3000, 0), stages(1500, 1), widths, np.array(widths, float), (10.0, 15.0), np.ones(10))
    for each in found:
        assert each.spent == pytest.approx(each.budget, rel=0.15)
        assert each.adaptive.low > 0
        assert each.adaptive.value < each.hindsight - each.fixed
        assert 0 < each.saved < 0.7


def test_where_requests_are_alike_nothing_is_gained():
    random = np.random.default_rng(0)

    def alike(seed: int) -> Stages:
        made = stages(1500, seed)
        gain = made.log.label.astype(float)
        return Stages(made.log, gain + random.normal(size=len(gain)), gain + 0.3 * random.normal(size=len(gain)))

    widths = (5, 10, 20, 40)
    (found,) = compared(alike(0), alike(1), widths, np.array(widths, float), (15.0,), np.ones(10))
    assert found.adaptive.value / found.fixed < 0.05
    assert abs(found.saved) < 0.25


def test_a_request_counts_for_as_many_as_it_stands_for():
    random = np.random.default_rng(5)
    value, cost = pooled(np.cumsum(random.random((200, 4)), 1), COST), COST
    weight = random.integers(1, 4, 200)
    copies = np.repeat(value, weight, axis=0)
    for budget in (1.5, 3.0, 6.0):
        assert fixed_at(value, cost, budget, weight) == pytest.approx(fixed_at(copies, cost, budget))
        assert in_hindsight(value, cost, budget, weight) == pytest.approx(in_hindsight(copies, cost, budget), rel=2e-3)

    widths = (5, 10, 20, 40)
    whole, later = stages(3000, 0), stages(3000, 1)
    kept = [_sampled(each) for each in (whole, later)]
    (full,), (some,) = (
        compared(*pair, widths, np.array(widths, float), (12.0,), np.ones(10)) for pair in ((whole, later), kept)
    )
    assert some.spent == pytest.approx(full.spent, rel=0.1)
    assert some.fixed == pytest.approx(full.fixed, rel=0.05), "half of those with a long tail were left out"
    assert full.adaptive.low < some.adaptive.value < full.adaptive.high


def _sampled(whole: Stages) -> Stages:
    """Of the requests with many positives every third one, which stands for three."""
    many = np.add.reduceat(whole.log.label, whole.log.bounds[:-1]) > 6
    chosen = np.flatnonzero(~many | (np.cumsum(many) % 3 == 0))
    rows = (whole.log.bounds[chosen][:, None] + np.arange(40)).ravel()
    log = replace(whole.log.take(chosen), request_weight=np.where(many, 3.0, 1.0)[chosen])
    return Stages(log, whole.first[rows], whole.second[rows])
