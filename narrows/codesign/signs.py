"""Measurable signs of a flow log: what can be known in minutes, before any scheme has been compared, of which one will pay."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from narrows.codesign.design import Design
from narrows.codesign.log import Array, FlowLog
from narrows.codesign.run import Outcome, Parts, run

SIGNS = {
    "auc_gap": "AUC of a ranker over all candidates minus that of a pre-ranker: what the second stage knows more",
    "auc_ranker": "AUC of that ranker: how much of what is wanted the features explain",
    "seen_share": "share of the features that all stages see",
    "candidates": "candidates a request, logarithm to base 2",
    "positives": "wanted candidates of a request that has any, logarithm to base 2",
    "candidates_per_positive": "candidates for each wanted one, logarithm to base 2",
    "labelled_share": "share of the requests with a wanted candidate",
    "selection": "AUC of the logged reach for popularity: how much more often what is popular was passed on",
    "exposure": "share of the candidates that were shown",
    "unshown_wanted": "share of what is wanted that was not shown",
    "cut": "share of the candidates that the first width keeps",
    "survival_first": "share of what is wanted that independent training keeps at the first width",
    "requests": "training requests, logarithm to base 2",
    "items": "distinct items among the candidates, logarithm to base 2",
    "history": "events known of a user, mean",
    "drift": "share of the candidates of the latest tenth that training never saw",
}
"""What each sign is."""


@dataclass(frozen=True)
class Signs:
    """The signs of a log, and the one training that they took."""

    values: dict[str, float]
    outcome: Outcome


def signs(log: FlowLog, design: Design, seed: int = 0, parts: Parts | None = None) -> Signs:
    """Compute the signs; it trains one cheap independent cascade whose ranker learns from all candidates.

    Means are over requests by their weights, where these were sampled; the counts of requests and items are of the sample.

    Args:
        log: the flow log.
        design: models, widths and learning settings; its scheme does not matter.
        seed: of the training.
        parts: of the log, where they are at hand.
    """
    parts = parts or Parts.of(log)
    outcome = run(replace(design, scheme="independent", exposure="all"), log, seed, judge="validation", parts=parts)
    first, last = design.stages[0], design.stages[-1]
    metrics = outcome.metrics
    values = described(parts.train.log, parts.test.log, design.widths[0]) | {
        "auc_gap": _number(metrics, f"auc_{last}") - _number(metrics, f"auc_{first}"),
        "auc_ranker": _number(metrics, f"auc_{last}"),
        "survival_first": _number(metrics, f"survival_{first}"),
    }
    return Signs({name: values[name] for name in SIGNS}, outcome)


def described(train: FlowLog, test: FlowLog, width: int) -> dict[str, float]:
    """The signs that take no training.

    Args:
        train: the requests that models learn from.
        test: later ones.
        width: candidates that the first stage keeps.
    """
    weight, later = (np.ones(len(log)) if log.request_weight is None else log.request_weight for log in (train, test))
    of_row, sizes, wanted = np.repeat(weight, train.sizes), train.sizes, train.label > 0
    positives = np.bincount(train.request, wanted, minlength=len(train))
    labelled, shown, known = positives > 0, train.reached == len(train.stages), np.unique(train.item)
    requests, rows, all_wanted = weight.sum(), weight @ sizes, weight @ positives
    tested = np.repeat(later, test.sizes)
    return {
        "seen_share": float((train.seen_from == 0).mean()),
        "candidates": _log2(rows / requests),
        "positives": _log2(all_wanted / weight[labelled].sum() if labelled.any() else 1.0),
        "candidates_per_positive": _log2(rows / max(all_wanted, 1)),
        "labelled_share": float(weight @ labelled / requests),
        "selection": popularity_auc(train),
        "exposure": float(of_row @ shown / rows),
        "unshown_wanted": float(of_row @ (wanted & ~shown) / max(all_wanted, 1)),
        "cut": float(weight @ np.minimum(width / np.maximum(sizes, 1), 1) / requests),
        "requests": _log2(len(train)),
        "items": _log2(len(known)),
        "history": float(weight @ (train.sequence > 0).sum(1) / requests),
        "drift": float(1 - tested @ np.isin(test.item, known) / tested.sum()),
    }


def popularity_auc(log: FlowLog) -> float:
    """The probability that of two candidates the one that came farther is the commoner among all candidates; 0.5 = no selection.

    Ties count half. An item is common by how many requests have it. Requests and pairs count by the requests' weights.
    """
    weight = np.ones(len(log.item)) if log.row_request_weight is None else log.row_request_weight
    passed = log.reached > np.median(log.reached)
    if passed.all() or not passed.any():
        return 0.5
    _, level = np.unique(np.bincount(log.item, weight)[log.item], return_inverse=True)
    above, below = (np.bincount(level, weight * side, minlength=level.max() + 1) for side in (passed, ~passed))
    rarer = np.cumsum(below) - below / 2
    return float(above @ rarer / (above.sum() * below.sum()))


def vector(values: dict[str, float]) -> Array:
    """float64 [signs], in the order of `SIGNS`."""
    return np.array([values[name] for name in SIGNS], float)


def _number(metrics: dict[str, float], name: str) -> float:
    value = metrics.get(name, np.nan)
    return float(value) if np.isfinite(value) else 0.5


def _log2(value: float) -> float:
    return float(np.log2(max(float(value), 1e-9)))
