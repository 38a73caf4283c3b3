"""Sampled requests stand for what the sample leaves out: in quality, in intervals and in training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from narrows.codesign.batch import Batch, Inputs
from narrows.codesign.evaluate import WEIGHT, compare, evaluate
from narrows.codesign.log import FlowLog
from narrows.codesign.losses import LOSSES, named
from narrows.codesign.objective import EndToEnd
from narrows.codesign.seeds import Judged, drawn, means
from narrows.codesign.train import Part, listwise, pointwise
from narrows.codesign.trees import worth
from tests.codesign.small_log import small_log

NAMES, WIDTHS = ("prerank", "rank"), (4, 2)


def sample(log: FlowLog, chance: np.ndarray, seed: int) -> FlowLog:
    """Each request with its own probability."""
    chosen = np.flatnonzero(np.random.default_rng(seed).random(len(log)) < chance)
    return replace(log.take(chosen), request_weight=1 / chance[chosen])


def twice(log: FlowLog, often: np.ndarray) -> tuple[FlowLog, FlowLog]:
    """The log with requests as often as said, and the same by weights."""
    return log.take(np.repeat(np.arange(len(log)), often)), replace(log, request_weight=often.astype(float))


def test_a_log_keeps_its_weights(tmp_path):
    log = sample(small_log(), np.full(40, 0.5), 0)
    log.save(tmp_path)
    np.testing.assert_array_equal(FlowLog.load(tmp_path).request_weight, log.request_weight)
    np.testing.assert_array_equal(log.take(np.array([3, 1])).request_weight, log.request_weight[[3, 1]])
    np.testing.assert_array_equal(log.row_request_weight, log.request_weight[log.request])
    assert small_log().row_request_weight is None


def test_a_weighted_sample_estimates_the_whole_log_without_bias():
    """Requests with many candidates are drawn four times as often: unweighted numbers are far off, weighted ones are not."""
    log, draws = small_log(requests=200, users=40, truth=True), 60
    scores = np.random.default_rng(1).normal(size=(2, len(log.item)))
    whole = evaluate(log, NAMES, scores, WIDTHS).metrics
    chance = np.where(log.sizes > 6, 0.8, 0.2)
    found, plain = [], []
    for seed in range(draws):
        some = sample(log, chance, seed)
        chosen = np.flatnonzero(np.random.default_rng(seed).random(len(log)) < chance)
        given = scores[:, np.concatenate([np.arange(*log.bounds[each : each + 2]) for each in chosen])]
        found.append(evaluate(some, NAMES, given, WIDTHS).metrics)
        plain.append(evaluate(replace(some, request_weight=None), NAMES, given, WIDTHS).metrics)
    for name in ("value", "ndcg", "joint_recall", "survival_rank", "regret_prerank", "oracle"):
        values = np.array([each[name] for each in found])
        assert values.mean() == pytest.approx(whole[name], abs=4 * values.std() / draws**0.5), name
    biased = np.array([each["oracle"] for each in plain])
    assert abs(biased.mean() - whole["oracle"]) > 6 * biased.std() / draws**0.5


def test_a_weight_is_as_many_requests():
    log = small_log(requests=60, users=12, truth=True)
    often = np.random.default_rng(2).integers(1, 4, 60)
    many, weighted = twice(log, often)
    score = np.random.default_rng(3).normal(size=len(log.item))
    rows = np.concatenate([np.arange(log.bounds[at], log.bounds[at + 1]) for at in np.repeat(np.arange(60), often)])
    one = evaluate(many, NAMES, [score[rows]] * 2, WIDTHS)
    other = evaluate(weighted, NAMES, [score] * 2, WIDTHS)
    counts = ("requests", "labelled")
    assert {name: one.metrics[name] for name in one.metrics if name not in counts} == pytest.approx(
        {name: other.metrics[name] for name in other.metrics if name not in counts}
    )
    both = [Judged.of([found.by_request["ndcg"]], found.user, found.by_request.get(WEIGHT)) for found in (one, other)]
    np.testing.assert_allclose(means(both[:1]), means(both[1:]))
    np.testing.assert_allclose(drawn(both[:1], 50), drawn(both[1:], 50))
    better = other.by_request["value"] + np.arange(60) / 60
    by_weight = compare(better, other.by_request["value"], log.user, weight=weighted.request_weight)
    by_rows = compare(np.repeat(better, often), one.by_request["value"], many.user)
    assert by_weight.difference == pytest.approx(by_rows.difference)
    assert by_weight.low == pytest.approx(by_rows.low)


def encoded(log: FlowLog) -> Batch:
    inputs = Inputs.of(small_log(60, 12), least=1)
    return Part(log, inputs, torch.device("cpu")).encoded.batch(torch.arange(len(log)))


@pytest.mark.parametrize("name", [*LOSSES, "pointwise", "listwise"])
def test_every_loss_takes_a_weight_as_so_many_requests(name):
    log = small_log(requests=30, users=6)
    often = np.random.default_rng(4).integers(1, 4, 30)
    many, weighted = (encoded(each) for each in twice(log, often))
    scores = [torch.randn(weighted.mask.shape, generator=torch.Generator().manual_seed(k)) for k in range(2)]
    repeated = [each[torch.repeat_interleave(torch.arange(30), torch.from_numpy(often))] for each in scores]

    def loss(given: list[torch.Tensor], batch: Batch) -> float:
        if name == "pointwise":
            return float(pointwise(given[0], batch, True))
        if name == "listwise":
            return float(listwise(given[0], given[1], batch.mask, 1.0, batch.request_weight))
        return float(named(name)(tuple(given), batch, (3, 2)).detach())

    assert loss(scores, weighted) == pytest.approx(loss(repeated, many), rel=1e-4)
    assert loss(scores, weighted) != pytest.approx(loss(scores, replace(weighted, request_weight=None)), rel=1e-4)
    narrowed = weighted.narrowed(weighted.grade >= 2)
    assert narrowed.request_weight is weighted.request_weight


def test_trees_take_it_too():
    log = small_log(requests=30, users=6)
    often = np.random.default_rng(4).integers(1, 4, 30)
    many, weighted = twice(log, often)
    assert worth(log, None) is None
    np.testing.assert_allclose(worth(weighted, log.weight), log.weight * often[log.request])
    np.testing.assert_allclose(worth(weighted, None), often[log.request])
    told = [EndToEnd(each, (3, 2), 5.0, "gauss_newton") for each in (weighted, many)]
    score = np.random.default_rng(5).normal(size=len(log.item))
    rows = np.concatenate([np.arange(log.bounds[at], log.bounds[at + 1]) for at in np.repeat(np.arange(30), often)])
    for each, given in zip(told, (score, score[rows]), strict=True):
        each.set_ranker(given)
    gradient, hessian = told[0](score)
    of_many = told[1](score[rows])
    np.testing.assert_allclose(gradient[rows] / often[log.request][rows], of_many[0], rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(hessian[rows] / often[log.request][rows], of_many[1], rtol=1e-4, atol=1e-7)
    assert told[0].loss == pytest.approx(told[1].loss, rel=1e-5)
