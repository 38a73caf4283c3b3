"""Metrics, intervals and calibration against hand-made cases and plain loops."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from narrows.bootstrap import TIMES, Resampling, intervals
from narrows.metrics import expected_calibration_error, reliability
from stages.evaluation.calibration import log_loss
from stages.evaluation.metrics import coverage, per_user, self_information


def test_metrics_by_hand():
    hits = np.array([[0, 1, 1], [0, 0, 0], [1, 0, 0]], bool)
    found = per_user(hits, np.array([2, 1, 5]), 3)
    assert found["recall"] == pytest.approx([1, 0, 1 / 3])
    assert found["mrr"] == pytest.approx([1 / 2, 0, 1])
    assert found["hit_rate"] == pytest.approx([1, 0, 1])
    second, third = 1 / math.log2(3), 1 / math.log2(4)
    assert found["ndcg"] == pytest.approx([(second + third) / (1 + second), 0, 1 / (1 + second + third)])


def test_a_cut_off_sees_only_the_first_places():
    hits = np.array([[0, 1, 1]], bool)
    assert per_user(hits, np.array([2]), 1)["recall"] == [0]
    assert per_user(hits, np.array([2]), 2)["recall"] == [0.5]
    assert per_user(hits, np.array([2]), 10)["recall"] == [1]  # a list shorter than k


@pytest.mark.parametrize(("positives", "k"), [([0], 3), ([1], 0)])
def test_metrics_refuse_what_has_no_meaning(positives, k):
    with pytest.raises(ValueError):
        per_user(np.zeros((1, 3), bool), np.array(positives), k)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=12), st.integers(0, 8), st.integers(1, 12))
def test_metrics_agree_with_plain_loops(row, more, k):
    positives = max(sum(row) + more, 1)
    found = {name: value[0] for name, value in per_user(np.array([row]), np.array([positives]), k).items()}
    hits = [place for place, hit in enumerate(row[:k], 1) if hit]
    ideal = sum(1 / math.log2(place + 1) for place in range(1, min(k, positives) + 1))
    assert found["recall"] == pytest.approx(len(hits) / min(k, positives))
    assert found["ndcg"] == pytest.approx(sum(1 / math.log2(place + 1) for place in hits) / ideal)
    assert found["mrr"] == pytest.approx(1 / hits[0] if hits else 0)
    assert all(0 <= value <= 1 + 1e-12 for value in found.values())


def test_coverage_and_surprise():
    assert coverage(np.array([0, 1, 1, -1]), 4) == 0.5
    assert self_information(np.array([8, 4, 1, 0]), 8) == pytest.approx([0, 1, 3, 3])


def test_intervals_of_a_constant_are_the_constant():
    assert [bound[0] for bound in intervals(np.full((50, 1), 0.3))] == pytest.approx([0.3, 0.3, 0.3])


def test_intervals_agree_with_the_normal_approximation():
    values = np.random.default_rng(3).random((2000, 1))
    mean, low, high = intervals(values, resamples=2000)
    error = values.std() / math.sqrt(2000)
    assert mean[0] == pytest.approx(values.mean())
    assert low[0] == pytest.approx(values.mean() - 1.96 * error, abs=0.2 * error)
    assert high[0] == pytest.approx(values.mean() + 1.96 * error, abs=0.2 * error)


def test_a_ratio_leaves_out_users_without_a_denominator():
    top, bottom = np.array([[1.0], [3.0], [0.0]]), np.array([[2.0], [4.0], [0.0]])
    assert intervals(top, bottom)[0] == pytest.approx(4 / 6)
    assert np.isnan(intervals(np.zeros((2, 1)), np.zeros((2, 1)))).all()


def test_no_users_give_no_numbers():
    assert np.isnan(intervals(np.zeros((0, 2)))).all()


def test_intervals_repeat():
    values = np.random.default_rng(0).random((2500, 300))
    first = intervals(values)
    assert all((a == b).all() for a, b in zip(first, intervals(values), strict=True))


@pytest.mark.parametrize("size", [1, 700, 4096, 5000, 9999])
def test_how_users_come_changes_no_interval(size):
    random = np.random.default_rng(0)
    top, bottom = random.random((9999, 3)), random.integers(0, 2, (9999, 3)).astype(float)
    parts = Resampling(100, 0.9, 5)
    for at in range(0, len(top), size):
        parts.add(top[at : at + size], bottom[at : at + size])
    whole = intervals(top, bottom, resamples=100, confidence=0.9, seed=5)
    for one, other in zip(parts.intervals(), whole, strict=True):
        assert one == pytest.approx(other, rel=1e-12)


def test_draws_have_the_chances_of_a_poisson_variable():
    share = np.bincount(TIMES.astype(int)) / len(TIMES)
    expected = [math.exp(-1) / math.factorial(k) for k in range(len(share))]
    assert share == pytest.approx(expected, abs=1 / len(TIMES))
    assert TIMES.mean() == pytest.approx(1, abs=1e-4)


def test_calibration_by_hand():
    score = np.repeat([0.1, 0.5], [10, 10])
    label = np.concatenate([np.arange(10) < 1, np.arange(10) < 9])
    assert expected_calibration_error(score, label, 2) == pytest.approx(0.5 * 0 + 0.5 * 0.4)
    count, predicted, observed = reliability(score, label, 2)
    assert (count.tolist(), predicted.tolist()) == ([10, 10], pytest.approx([0.1, 0.5]))
    assert observed == pytest.approx([0.1, 0.9])


def test_calibration_refuses_scores_that_are_no_probabilities():
    for bad in ([1.5], [-0.1], [float("nan")]):
        with pytest.raises(ValueError, match=r"\[0, 1\]"):
            expected_calibration_error(np.array(bad), np.array([1]))
    assert math.isnan(expected_calibration_error(np.zeros(0), np.zeros(0)))


def test_log_loss_by_hand():
    found = log_loss(np.array([0.5, 0.25, 1.0]), np.array([1, 0, 1]))
    assert found == pytest.approx((math.log(2) - math.log(0.75)) / 3)
    assert log_loss(np.array([0.0]), np.array([1])) < 30  # finite
    assert math.isnan(log_loss(np.zeros(0), np.zeros(0)))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.3, 0.9, 1.0]), st.booleans()), min_size=1, max_size=60))
def test_calibration_keeps_ties_together_and_loses_no_row(rows):
    score, label = np.array([row[0] for row in rows]), np.array([row[1] for row in rows])
    count, predicted, observed = reliability(score, label, 4)
    assert count.sum() == len(rows)
    assert (np.diff(predicted) > 0).all()
    assert (count * observed).sum() == pytest.approx(label.sum())
    order = np.random.default_rng(0).permutation(len(rows))
    assert expected_calibration_error(score[order], label[order], 4) == pytest.approx(
        expected_calibration_error(score, label, 4)
    )
