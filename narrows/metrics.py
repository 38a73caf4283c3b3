"""Metrics that several rooms compute: the calibration error of probabilities, the NDCG of lists, and whether a gain is chance."""

from __future__ import annotations

import math

import numpy as np

from narrows.candidates import best_first

Array = np.ndarray


def reliability(
    score: Array, label: Array, bins: int = 15, weight: Array | None = None, keep_ties: bool = True
) -> tuple[Array, Array, Array]:
    """Predicted against observed, in bins of equal weight by ascending score.

    Args:
        score: f64 (rows,), probabilities.
        label: bool or 0/1 (rows,).
        bins: at most this many; fewer where scores are tied.
        weight: how many rows each one stands for (rows,); None = one.
        keep_ties: rows of one score go to the bin of their middle row, so that the bins do not depend on the order of
            the rows. Without, each row goes to the bin in which its weight ends: for weighted samples, where one
            heavy row would pull all that are tied with it along.

    Returns:
        weight f64, mean score f64, share of positive labels f64, each (bins used,).

    Raises:
        ValueError: a score is not in [0, 1].
    """
    if not len(score):
        return np.zeros(0), np.zeros(0), np.zeros(0)
    if not ((score >= 0) & (score <= 1)).all():
        raise ValueError("a calibrated score lies in [0, 1]; this one holds other values (or nan)")
    weight = np.ones(len(score)) if weight is None else np.asarray(weight, np.float64)
    total = max(weight.sum(), 1e-12)
    if keep_ties:
        group = np.unique(score, return_inverse=True)[1]
        tied = np.bincount(group, weight)
        place = (np.cumsum(tied) - (tied + 1) / 2)[group]  # of the middle row, from 0
    else:
        order = np.argsort(score, kind="stable")
        place = np.empty(len(score))
        place[order] = np.cumsum(weight[order])
    bin_of = np.clip((place * bins / total).astype(int), 0, bins - 1)
    used = np.unique(bin_of, return_inverse=True)[1]
    mass = np.bincount(used, weight)
    predicted, observed = (np.bincount(used, weight * np.asarray(values, float)) for values in (score, label))
    divisor = np.maximum(mass, 1e-12)
    return mass, predicted / divisor, observed / divisor


def expected_calibration_error(
    score: Array, label: Array, bins: int = 15, weight: Array | None = None, keep_ties: bool = True
) -> float:
    """ECE (Naeini et al. 2015): the mean over bins of equal weight of |observed - predicted|; nan without rows.

    Args and raises as of `reliability`.
    """
    mass, predicted, observed = reliability(score, label, bins, weight, keep_ties)
    return float(np.average(np.abs(observed - predicted), weights=mass)) if len(mass) else float("nan")


def discount(place: Array) -> Array:
    """What a hit at each place of a list is worth, ``1 / log2(1 + place)``; place 1 is the top. float64."""
    return 1 / np.log2(1 + place)


def normalized(dcg: Array, positives: Array, n: int) -> Array:
    """NDCG@n: discounted gains as shares of the best possible (Järvelin & Kekäläinen 2002, the ideal list cut at n).

    Args:
        dcg: the sum of the `discount` of each list's hits among its first n places (lists,).
        positives: int (lists,), how many positives each list could have, at least 1.
        n: the cut-off, at least 1.
    """
    ideal = np.cumsum(discount(np.arange(1, n + 1)))
    return dcg / ideal[np.minimum(positives, n) - 1]


def ndcg(score: Array, label: Array, weight: Array, group: Array, n: int = 20) -> Array:
    """NDCG@n of each list with a positive, from rows of a weighted sample.

    Args:
        score: (rows,), larger is better.
        label: 0 or 1 (rows,).
        weight: a row of weight w stands for w rows, so it takes w places (rows,).
        group: the list of each row (rows,).
        n: the cut-off.

    Returns:
        float64 (lists with a positive,), or a single 0 where there is none.
    """
    label, place, which = _placed(score, label, weight, group)
    dcg = np.bincount(which, label * (place <= n) * discount(place))
    positives = np.bincount(which, label).astype(int)
    judged = positives > 0
    return normalized(dcg[judged], positives[judged], n) if judged.any() else np.zeros(1)


def hit_rate(score: Array, label: Array, weight: Array, group: Array, n: int) -> Array:
    """The share of each list's positives that stand among its first n places, from rows of a weighted sample.

    Args and returns as of `ndcg`.
    """
    label, place, which = _placed(score, label, weight, group)
    positives = np.bincount(which, label)
    judged = positives > 0
    return np.bincount(which, label * (place <= n))[judged] / positives[judged] if judged.any() else np.zeros(1)


def z_score(gain: Array, group: Array, item: Array | None) -> float:
    """The mean gain of lists in standard errors that hold for other lists and for other wanted items.

    Lists that want the same item gain or lose together: thousands of readers of ten articles say of an order what ten articles say. A
    list's deviation is parted equally among its positives, and their sums are clustered by list and by item (Cameron,
    Gelbach and Miller 2011, "Robust inference with multiway clustering": by list + by item - by both).

    Args:
        gain: of each list (lists,).
        group: of each positive its list, 0 to lists - 1 (positives,).
        item: of each positive, integers (positives,); None = all are different.

    Returns:
        0 for fewer than two lists; infinite where all gain alike.
    """
    if len(gain) < 2 or not gain.any():
        return 0.0
    deviation = gain - gain.mean()
    variance = deviation @ deviation
    if item is not None:
        part = (deviation / np.bincount(group, minlength=len(gain)))[group]
        by_item = np.bincount(np.unique(item, return_inverse=True)[1], part)
        variance = max(variance, variance + by_item @ by_item - part @ part)
    error = (variance / (len(gain) - 1) / len(gain)) ** 0.5
    return float(gain.mean() / error) if error > 0 else math.copysign(math.inf, gain.mean())


def _placed(score: Array, label: Array, weight: Array, group: Array) -> tuple[Array, Array, Array]:
    """The rows list by list and best first: their labels, places from 1, and the number of their list."""
    order = best_first(group, score)
    label, weight, group = label[order], weight[order], group[order]
    first = np.ones(len(group), bool)
    first[1:] = group[1:] != group[:-1]
    which, above = np.cumsum(first) - 1, np.cumsum(weight) - weight
    return label, 1 + above - above[first][which], which
