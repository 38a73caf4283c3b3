"""A cascade is judged as a plain loop over requests judges it, and the truth's regrets sum to what is lost."""

from dataclasses import replace

import numpy as np
import pytest

from narrows.codesign.evaluate import compare, evaluate
from tests.codesign.small_log import small_log

NAMES, WIDTHS = ("prerank", "rank"), (4, 2)


def scores(log, seed=0):
    return np.random.default_rng(seed).normal(size=(2, len(log.item)))


def by_hand(log, given, request):
    rows = np.arange(log.bounds[request], log.bounds[request + 1])
    first = rows[np.argsort(-given[0][rows])][:4]
    last = first[np.argsort(-given[1][first])][:2]
    return rows, first, last


def test_metrics_are_those_of_a_loop():
    log = small_log(truth=True)
    given = scores(log)
    done = evaluate(log, NAMES, given, WIDTHS)
    recall, ndcg, value, oracle, lost, alone, kept, came = ([] for _ in range(8))
    for request in range(len(log)):
        rows, first, last = by_hand(log, given, request)
        labels = log.label[rows].sum()
        value.append((log.value[last] * log.examined[: len(last)]).sum())
        best = np.sort(log.value[rows])[::-1][:3]
        oracle.append(best @ log.examined[: len(best)])
        survivors = np.sort(log.value[first])[::-1][:3]
        lost.append(oracle[-1] - survivors @ log.examined[: len(survivors)])
        kept.append(log.label[last].sum())
        came.append(log.label[first].sum())
        if labels:
            recall.append(kept[-1] / labels)
            ideal = sum(1 / np.log2(2 + place) for place in range(int(min(labels, 2))))
            ndcg.append(sum(log.label[row] / np.log2(2 + place) for place, row in enumerate(last)) / ideal)
            alone.append(log.label[rows[np.argsort(-given[1][rows])][:2]].sum() / labels)
    metrics = done.metrics
    assert metrics["joint_recall"] == pytest.approx(np.mean(recall))
    assert metrics["ndcg"] == pytest.approx(np.mean(ndcg))
    assert metrics["recall_rank"] == pytest.approx(np.mean(alone))
    assert metrics["survival_rank"] == pytest.approx(sum(kept) / sum(came))
    assert metrics["survival_prerank"] * metrics["survival_rank"] == pytest.approx(sum(kept) / log.label.sum())
    np.testing.assert_allclose(done.by_request["value"], value)
    np.testing.assert_allclose(done.by_request["oracle"], oracle)
    assert metrics["regret_prerank"] == pytest.approx(np.mean(lost))
    lost_in_all = metrics["regret_prerank"] + metrics["regret_rank"]
    assert lost_in_all == pytest.approx(metrics["oracle"] - metrics["value"])
    assert metrics["oracle_share"] == pytest.approx(sum(value) / sum(oracle))


def test_the_truth_as_score_has_no_regret():
    log = small_log(truth=True)
    metrics = evaluate(log, NAMES, (log.value, log.value), (4, 3)).metrics
    assert metrics["oracle_share"] == pytest.approx(1)
    assert metrics["regret_prerank"] == pytest.approx(0)
    assert metrics["overlap_prerank"] == pytest.approx(1)


def test_a_single_stage_and_a_log_without_truth():
    log = small_log()
    metrics = evaluate(log, ("rank",), (log.label,), (9,)).metrics
    assert metrics["joint_recall"] == metrics["recall_rank"] == metrics["survival_rank"] == 1
    assert metrics["auc_rank"] > 0.99
    assert "value" not in metrics


def test_auc_is_the_share_of_pairs_in_order():
    log = small_log()
    given = scores(log)
    expected = []
    for request in range(len(log)):
        rows, *_ = by_hand(log, given, request)
        up, down = rows[log.label[rows] == 1], rows[log.label[rows] == 0]
        if len(up) and len(down):
            expected.append((given[0][up][:, None] > given[0][down]).mean())
    assert evaluate(log, NAMES, given, WIDTHS).metrics["auc_prerank"] == pytest.approx(np.mean(expected))


def test_ties_are_broken_at_random_and_the_same_each_time():
    log = small_log(requests=400)
    tied = np.zeros((2, len(log.item)))
    one, again, other = (evaluate(log, NAMES, tied, WIDTHS, seed).metrics["joint_recall"] for seed in (0, 0, 1))
    assert one == again != other
    chance = np.mean(np.minimum(2 / log.sizes, 1))
    assert one == pytest.approx(chance, abs=0.06)


def test_what_cannot_be_judged_is_refused():
    log = small_log()
    with pytest.raises(ValueError, match="diverged"):
        evaluate(log, NAMES, scores(log) * np.nan, WIDTHS)
    with pytest.raises(ValueError, match="no more than the one before"):
        evaluate(log, NAMES, scores(log), (2, 4))


def test_a_comparison_draws_users_and_is_paired():
    log = small_log(requests=300, users=40)
    random = np.random.default_rng(0)
    other = random.random(300)
    one = other + 0.1 + 0.01 * random.normal(size=300)
    one[:5] = np.nan
    found = compare(one, other, log.user)
    assert found.low < 0.1 < found.high
    assert found.high - found.low < 0.01
    assert found.ratio == pytest.approx(one[5:].sum() / other[5:].sum())
    same = compare(other, other, log.user)
    assert (same.difference, same.low, same.ratio_high) == (0, 0, 1)
    doubled = compare(np.tile(one, 2), np.tile(other, 2), np.tile(log.user, 2))
    assert doubled.low == pytest.approx(found.low)  # rows of one user are not new evidence


def test_requests_without_candidates_count_for_nothing():
    log = small_log(truth=True)
    bounds = np.concatenate([log.bounds, log.bounds[-1:]])
    more = replace(
        log, bounds=bounds, user=np.append(log.user, 0), time=np.append(log.time, log.time[-1]),
        sequence=np.vstack([log.sequence, log.sequence[:1]]), oracle=np.vstack([log.oracle, log.oracle[:1]]),
    )  # fmt: skip
    one, other = (evaluate(each, NAMES, scores(log), WIDTHS).metrics for each in (log, more))
    assert one["joint_recall"] == pytest.approx(other["joint_recall"], abs=0.02)
    assert other["value"] == pytest.approx(one["value"] * 40 / 41)
