"""Whether an offline metric predicts the winner: the shares against plain loops, and a study of a small log."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from narrows.codesign.batch import Inputs
from narrows.codesign.design import Design
from narrows.codesign.log import FlowLog
from narrows.codesign.prediction import METRICS, agreement, offline, relabelled
from narrows.codesign.train import Part
from narrows.codesign.variants import Variant, hiding, kept, noisy, study, variants
from tests.codesign.small_log import small_log

SMALL = Design(prerank="lightgbm", rank="linear", widths=(4, 2), trees=8, leaves=4, epochs=1, batch=32, hidden=(4,))


def share_by_loops(metric: list[float], truth: list[float]) -> float:
    right = pairs = 0.0
    for i in range(len(truth)):
        for j in range(i):
            if truth[i] != truth[j]:
                pairs += 1
                same = (metric[i] - metric[j]) * (truth[i] - truth[j])
                right += 1.0 if same > 0 else 0.5 if same == 0 else 0.0
    return right / pairs


def test_shares_are_those_of_plain_loops():
    rng = np.random.default_rng(0)
    truth, metrics = rng.integers(0, 6, 20) / 7, {name: rng.integers(0, 5, 20) / 3 for name in "abc"}
    found = {each.metric: each for each in agreement(metrics, truth)}
    for name, values in metrics.items():
        assert found[name].share == pytest.approx(share_by_loops(list(values), list(truth)))
        assert found[name].low <= found[name].share <= found[name].high
    assert [each.share for each in agreement(metrics, truth)] == sorted((e.share for e in found.values()), reverse=True)


def test_the_extremes_and_what_knows_nothing():
    truth = np.arange(12.0)
    found = {
        each.metric: each
        for each in agreement({"same": truth, "reverse": -truth, "none": np.full(12, np.nan), "flat": truth * 0}, truth)
    }
    assert (found["same"].share, found["same"].low, found["same"].high) == (1, 1, 1)
    assert (found["reverse"].share, found["reverse"].high) == (0, 0)
    assert found["none"].share == found["flat"].share == 0.5
    assert found["same"].pairs == 66


def test_near_pairs_may_be_left_out():
    truth = np.array([0.0, 0.1, 1.0])
    metric = {"wrong where it is near": np.array([0.1, 0.0, 1.0])}
    assert agreement(metric, truth)[0].share == pytest.approx(2 / 3)
    assert agreement(metric, truth, least=0.5)[0].share == 1
    with pytest.raises(ValueError, match="no two variants differ"):
        agreement(metric, truth * 0)


def test_the_interval_covers():
    """Of metrics that are the truth with noise: the share over very many variants, in nine tenths of studies or more."""
    rng = np.random.default_rng(1)
    many = rng.normal(size=(2, 1500))
    expected = share_by_loops(list(many[0, :700] + many[1, :700]), list(many[0, :700]))
    inside = 0
    for place in range(40):
        truth, error = rng.normal(size=(2, 36))
        (found,) = agreement({"m": truth + error}, truth, resamples=300, seed=place)
        inside += found.low <= expected <= found.high
    assert inside >= 34


def one_request() -> FlowLog:
    """Six candidates: the first two shown, the first wanted; true values in the order 5 4 3 2 1 0 of the last to first."""
    log = small_log(1, truth=True)
    rows = 6
    return replace(
        log, bounds=np.array([0, rows]), item=np.arange(1, 7, dtype=np.int32), features=np.zeros((rows, 2), np.float32),
        reached=np.array([3, 3, 2, 2, 1, 1], np.int8), label=np.array([1, 0, 0, 0, 0, 0], np.float32),
        weight=np.ones(rows, np.float32), score=np.zeros((rows, 3), np.float32), rank=np.zeros((rows, 3), np.int32),
        value=np.arange(6.0), examined=np.ones(2), oracle=None,
    )  # fmt: skip


def test_offline_metrics_of_a_request_by_hand():
    prerank, rank = np.array([6.0, 5, 4, 3, 2, 1]), np.array([1.0, 2, 3, 6, 5, 4])
    found = offline(one_request(), prerank, rank, (3, 2), relevant=2)
    assert set(found) == set(METRICS)
    assert found["auc_shown"] == found["auc_all"] == 1  # the wanted one is first
    # unshown: items 3 to 6, half of them: the pre-ranker's are 3 4, the ranker's 4 5
    assert found["overlap_unshown"] == pytest.approx(0.5)
    # all, half of them: 1 2 3 and 4 5 6
    assert found["overlap_all"] == 0
    # the ranker's own list is 4 5, of which the pre-ranker keeps none: it keeps 1 2 3
    assert found["next_stage_recall"] == 0
    assert found["hit_rate_labels"] == 1
    assert found["hit_rate_relevant"] == 0  # the best are 5 6
    assert found["joint_recall"] == 0  # the ranker puts the wanted one last of three
    without = offline(replace(one_request(), value=None), prerank, rank, (3, 2))
    assert np.isnan(without["hit_rate_relevant"])


def test_relabelling_takes_the_first_of_each_request():
    log = small_log(30, seed=2)
    score = np.random.default_rng(0).normal(size=len(log.item))
    made, width = relabelled(log, score, 2), 3
    of_ranker = kept(replace(log, label=np.ones_like(log.label)), score, width)
    for low, high in zip(log.bounds[:-1], log.bounds[1:], strict=True):
        best = np.argsort(-score[low:high])
        assert set(np.flatnonzero(made.label[low:high])) == set(best[:2])
        assert set(np.flatnonzero(of_ranker[low:high])) == set(best[:width])


def wider(log: FlowLog) -> FlowLog:
    """With columns c, d and e, which all stages see."""
    more = np.random.default_rng(7).normal(size=(len(log.item), 3)).astype(np.float32)
    return replace(
        log, columns=(*log.columns, *"cde"), features=np.concatenate([log.features, more], 1),
        seen_from=np.array([0, 1, 0, 0, 0], np.int8),
    )  # fmt: skip


def three_parts() -> list[Part]:
    log = wider(small_log(240, truth=True, seed=1))
    log = replace(log, label=((log.value > 0.6) & (log.reached == 3)).astype(np.float32))
    log.features[:, 0] = log.value
    inputs = Inputs.of(log.take(np.arange(120)))
    cuts = ((0, 120), (120, 180), (180, 240))
    return [Part(log.take(np.arange(low, high)), inputs, torch.device("cpu")) for low, high in cuts]


def test_a_study_trains_measures_and_judges():
    parts = three_parts()
    towers = replace(SMALL, prerank="two_tower")
    chosen = {
        "trees": Variant(SMALL), "order": Variant(SMALL, "order"), "kept": Variant(SMALL, "kept"),
        "blind": Variant(SMALL, hidden=("a",)), "noise": Variant(SMALL, noise=100.0), "column": Variant(SMALL, plain="a"),
        "towers": Variant(towers), "shown": Variant(towers, shown_only=True), "teacher": Variant(towers, "order"),
        "survives": Variant(towers, "kept"), "lcron": Variant(towers, "lcron"),
    }  # fmt: skip
    told: list[str] = []
    found = study(*parts, chosen, SMALL, 0, told.append)
    assert found.names == tuple(chosen) == tuple(told)
    assert set(found.metrics) == set(METRICS)
    assert all(np.isfinite(values).all() for values in found.metrics.values())
    worth = dict(zip(found.names, found.truth, strict=True))
    assert worth["column"] > worth["noise"]
    again = study(*parts, {name: chosen[name] for name in ("trees", "towers")}, SMALL, 0)
    np.testing.assert_array_equal(again.truth, found.truth[[0, 6]])


def test_there_are_enough_variants_and_none_twice():
    made = variants(wider(small_log(5)), replace(SMALL, leaves=31))
    assert len(made) >= 36
    assert len(set(map(repr, made.values()))) == len(made)


def test_hiding_and_noise():
    parts = three_parts()
    hidden = hiding(parts, ("a",))
    assert hidden[1].log.seen_from.tolist() == [1, 1, 0, 0, 0]
    assert parts[0].inputs.ranker_only == (1, 5)  # b, and what says that it is missing
    assert hidden[0].inputs.ranker_only == (0, 1, 5)
    assert hiding(parts, ()) is parts
    scores = np.random.default_rng(0).normal(size=1000) * 5
    assert np.std(noisy(scores, 0.5, 1) - scores) == pytest.approx(2.5, rel=0.1)
    assert noisy(scores, 0.0, 1) is scores


def test_without_a_truth_nothing_is_judged():
    parts = three_parts()
    parts[2] = replace(parts[2], log=replace(parts[2].log, value=None))
    with pytest.raises(ValueError, match="generated world alone"):
        study(*parts, {}, SMALL, 0)
