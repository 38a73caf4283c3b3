"""Which offline metric of a pre-ranker predicts what the cascade is worth with it?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from narrows.codesign.evaluate import evaluate
from narrows.codesign.log import Array, FlowLog

METRICS = {
    "auc_shown": "AUC among the candidates that were shown, where labels are",
    "auc_all": "AUC of what was wanted against all other candidates",
    "overlap_unshown": "next-stage overlap: what pre-ranker and ranker both put first of the candidates nobody was shown",
    "overlap_all": "the same of all candidates",
    "next_stage_recall": "share of the ranker's own final list that the pre-ranker keeps",
    "hit_rate_labels": "share of what was wanted, which was shown, that the pre-ranker keeps",
    "hit_rate_relevant": "share of the truly best items that the pre-ranker keeps, shown or not; known in a world alone",
    "joint_recall": "share of what was wanted that is in the cascade's final list",
}
"""Offline metrics of a pre-ranker beside a ranker."""


@dataclass(frozen=True)
class Agreement:
    """How often a metric orders two variants as the truth does."""

    metric: str
    share: float
    """Of the pairs whose truths differ; equal values of the metric count a half. .5 = it knows nothing."""
    low: float
    """Bounds of a 95 % interval over variants."""
    high: float
    pairs: int


def agreement(
    metrics: Mapping[str, Array], truth: Array, resamples: int = 2000, seed: int = 0, least: float = 0.0
) -> list[Agreement]:
    """The share of pairs that each metric orders as the truth does, the best first.

    The interval draws variants with replacement (percentile bootstrap); a variant and its copy are no pair.

    Args:
        metrics: float [variants] by name, larger = said to be better; NaN = unknown, such pairs count a half.
        truth: float [variants]: the value end to end.
        resamples: how many.
        seed: of the draws.
        least: pairs whose truths differ by no more than this do not count.

    Raises:
        ValueError: no pair counts.
    """
    truth = np.asarray(truth, np.float64)
    apart = truth[:, None] - truth[None, :]
    counts = apart > max(least, 0)
    if not counts.any():
        raise ValueError("no two variants differ in truth: have more of them, or a smaller least")
    draws = np.random.default_rng(seed).multinomial(len(truth), np.full(len(truth), 1 / len(truth)), resamples)
    whole = np.einsum("bi,ij,bj->b", draws, counts.astype(float), draws, optimize=True)
    found = []
    for name, values in metrics.items():
        difference = np.nan_to_num(np.asarray(values, np.float64)[:, None] - np.asarray(values, np.float64)[None, :])
        right = counts * (0.5 + np.sign(difference) / 2)
        drawn = np.einsum("bi,ij,bj->b", draws, right, draws, optimize=True)
        low, high = np.quantile(drawn[whole > 0] / whole[whole > 0], [0.025, 0.975])
        found.append(Agreement(name, float(right.sum() / counts.sum()), float(low), float(high), int(counts.sum())))
    return sorted(found, key=lambda each: -each.share)


def offline(
    log: FlowLog, prerank: Array, rank: Array, widths: Sequence[int], relevant: int = 10, seed: int = 0
) -> dict[str, float]:
    """The metrics of ``METRICS`` of a pre-ranker; those that the log cannot give are NaN.

    Args:
        log: the requests.
        prerank: float [rows]: its scores.
        rank: float [rows]: the ranker's scores, of all candidates.
        widths: what the pre-ranker and the ranker keep.
        relevant: how many of the items with the greatest true value of a request are relevant.
        seed: of the ties.
    """

    def judged(part: FlowLog, *scores: Array, kept: Sequence[int] = widths) -> dict[str, float]:
        names = ("prerank", "rank")[: len(scores)]
        return evaluate(part, names, scores, kept, seed).metrics

    cascade = judged(log, prerank, rank)
    is_shown = log.reached == len(log.stages)
    shown = restricted(log, is_shown)
    ranked = relabelled(log, rank, widths[-1])
    found = {
        "auc_shown": judged(shown, prerank[is_shown], kept=widths[:1])["auc_prerank"],
        "auc_all": cascade["auc_prerank"],
        "overlap_unshown": cascade["overlap_prerank"],
        "overlap_all": judged(unshown(log), prerank, rank)["overlap_prerank"],
        "next_stage_recall": judged(ranked, prerank, kept=widths[:1])["recall_prerank"],
        "hit_rate_labels": cascade["recall_prerank"],
        "hit_rate_relevant": float("nan"),
        "joint_recall": cascade["joint_recall"],
    }
    if log.value is not None:
        best = relabelled(log, log.value, relevant)
        found["hit_rate_relevant"] = judged(best, prerank, kept=widths[:1])["recall_prerank"]
    return found


def restricted(log: FlowLog, rows: Array) -> FlowLog:
    """The same requests with these rows (mask [rows]) alone."""
    return replace(log.only(rows), value=None, examined=None, oracle=None)


def relabelled(log: FlowLog, score: Array, count: int) -> FlowLog:
    """The same log in which the ``count`` candidates of the greatest score of each request are what is wanted."""
    order = np.lexsort((-score, log.request))
    place = np.empty(len(score), np.int64)
    place[order] = np.arange(len(score)) - np.repeat(log.bounds[:-1], log.sizes)
    return replace(log, label=(place < count).astype(np.float32), value=None, examined=None, oracle=None)


def unshown(log: FlowLog) -> FlowLog:
    """The same log as if nothing had been shown."""
    return replace(log, reached=np.zeros_like(log.reached), value=None, examined=None, oracle=None)
