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

    Args:
        log: the flow log.
        design: models, widths and learning settings; its scheme does not matter.
        seed: of the training.
        parts: of the log, where they are at hand.
    """
    parts = parts or Parts.of(log)
    outcome = run(replace(design, scheme="independent", exposure="all"), log, seed, judge="validation", parts=parts)
    first, last = design.stages[0], design.stages[-1]
    train, test = parts.train.log, parts.test.log
    wanted = np.bincount(train.request, train.label > 0, minlength=len(train))
    labelled = wanted > 0
    sizes = train.sizes
    known = np.unique(train.item)
    metrics = outcome.metrics
    shown = train.reached == len(train.stages)
    return Signs(
        {
            "auc_gap": _number(metrics, f"auc_{last}") - _number(metrics, f"auc_{first}"),
            "auc_ranker": _number(metrics, f"auc_{last}"),
            "seen_share": float((train.seen_from == 0).mean()),
            "candidates": _log2(sizes.mean()),
            "positives": _log2(wanted[labelled].mean() if labelled.any() else 1.0),
            "candidates_per_positive": _log2(sizes.sum() / max(wanted.sum(), 1)),
            "labelled_share": float(labelled.mean()),
            "selection": popularity_auc(train),
            "exposure": float(shown.mean()),
            "unshown_wanted": float(((train.label > 0) & ~shown).sum() / max((train.label > 0).sum(), 1)),
            "cut": float(np.minimum(design.widths[0] / np.maximum(sizes, 1), 1).mean()),
            "survival_first": _number(metrics, f"survival_{first}"),
            "requests": _log2(len(train)),
            "items": _log2(len(known)),
            "history": float((train.sequence > 0).sum(1).mean()),
            "drift": float(1 - np.isin(test.item, known).mean()),
        },
        outcome,
    )


def popularity_auc(log: FlowLog) -> float:
    """The probability that of two candidates the one that came farther is the commoner among all candidates; 0.5 = no selection.

    Ties count half. An item is common by how many requests have it.
    """
    from scipy.stats import rankdata

    counts = np.bincount(log.item)[log.item].astype(float)
    passed = log.reached > np.median(log.reached)
    if passed.all() or not passed.any():
        return 0.5
    places = rankdata(counts)
    above, below = float(passed.sum()), float((~passed).sum())
    return float((places[passed].sum() - above * (above + 1) / 2) / (above * below))


def vector(values: dict[str, float]) -> Array:
    """float64 [signs], in the order of `SIGNS`."""
    return np.array([values[name] for name in SIGNS], float)


def _number(metrics: dict[str, float], name: str) -> float:
    value = metrics.get(name, np.nan)
    return float(value) if np.isfinite(value) else 0.5


def _log2(value: float) -> float:
    return float(np.log2(max(float(value), 1e-9)))
