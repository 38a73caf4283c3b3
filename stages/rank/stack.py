"""The last step of rank: prerank's score and the networks' logits become one calibrated probability."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Array = np.ndarray
SHARES = np.linspace(0, 0.5, 6)
SURE = 2.58
"""Standard errors that a gain must exceed: 95% over the five shares that are tried (Bonferroni)."""
POWERS = (-6.0, 6.0)
"""Of 2: the least and the largest scale."""
WIDEST = 30.0
"""A user's level is sought so far from minus the mean of their order."""
HALVINGS = 24
"""Of the interval in which a level is sought."""


@dataclass(frozen=True)
class Stack:
    """probability = sigmoid(scale * order + the user's level), where the order is prerank * prerank_score + network * logit.

    Prerank's score is comparable within a user only, so how much a user takes at all is for the networks to say, also
    where they have no share in the order: the level is that at which the user's mean probability is theirs.
    """

    prerank: float = 0.0
    network: float = 1.0
    scale: float = 1.0

    def order(self, prerank_score: Array, logit: Array) -> Array:
        """What the list is ordered by, float64."""
        return self.prerank * prerank_score.astype(np.float64) + self.network * logit

    def probability(self, prerank_score: Array, logit: Array, user: Array, weight: Array | None = None) -> Array:
        """float32 in (0, 1), in the same order within a user.

        Args:
            prerank_score, logit: (rows,).
            user: integers (rows,); the means are those of a user's rows.
            weight: how many rows of the user each one stands for (rows,); None = one.
        """
        x = self.scale * self.order(prerank_score, logit)
        return _sigmoid(x + _level(x, logit, user, weight)).astype(np.float32)


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x.clip(-30, 15)))  # 15: float32 stays below 1


def _level(x: Array, logit: Array, user: Array, weight: Array | None) -> Array:
    """What each row's user adds to x for a mean of sigmoid(x) that is the mean of sigmoid(logit); float64 (rows,)."""
    user = np.unique(user, return_inverse=True)[1]
    weight = np.ones(len(x)) if weight is None else weight
    wanted = np.bincount(user, weight * _sigmoid(np.asarray(logit, np.float64)))
    count = np.maximum(np.bincount(user, weight), 1e-12)
    middle = np.bincount(user, weight * x) / count
    low, high = -middle - WIDEST, -middle + WIDEST
    for _ in range(HALVINGS):
        level = (low + high) / 2
        less = np.bincount(user, weight * _sigmoid(x + level[user])) < wanted
        low, high = np.where(less, level, low), np.where(less, high, level)
    return ((low + high) / 2)[user]


def fit(prerank_score: Array, logit: Array, label: Array, weight: Array, group: Array) -> Stack:
    """How much of each order, by NDCG; then the scale, by the weighted log loss of the probability.

    Both scores are put on one scale and mixed in the share, from none to one half network, whose NDCG@20 over the
    lists (group) is best after smoothing over neighbouring shares, if it beats prerank's alone by more than SURE
    standard errors of the paired difference: where the networks do not surely help, prerank's order stands. More than
    one half is not trusted, as prerank learnt from fewer windows for these lists than it serves with; but where the
    networks alone are surely better still, they stand alone.
    """
    score, logit, label, weight = (np.asarray(a, np.float64) for a in (prerank_score, logit, label, weight))
    spread = [max(float(values.std()), 1e-9) if len(values) else 1.0 for values in (score, logit)]
    mixed = [(1 - s) * score / spread[0] + s * logit / spread[1] for s in (*SHARES, 1.0)]
    worth = np.stack([ndcg(x, label, weight, group) for x in mixed])  # [shares + 1, lists]
    smooth = np.convolve(np.pad(worth[:-1].mean(1), 1, mode="edge"), (0.25, 0.5, 0.25), "valid")
    best = int(np.argmax(smooth))
    gain = worth[best] - worth[0]  # list by list
    if not _sure(gain):
        best = 0  # no better than chance: the simpler order stands
    share = 1.0 if _sure(worth[-1] - worth[best]) else float(SHARES[best])
    prerank, network = (1 - share) / spread[0], share / spread[1]
    x = prerank * score + network * logit

    def loss(power: float) -> float:
        line = 2.0**power * x
        said = _sigmoid(line + _level(line, logit, group, weight))
        return float(-(weight * np.log(np.where(label > 0, said, 1 - said))).sum())

    return Stack(float(prerank), float(network), 2.0 ** _least(loss, *POWERS))


def _sure(gain: Array) -> bool:
    """Whether the mean of the lists' gains is above 0 beyond chance."""
    return bool(gain.mean() > SURE * gain.std(ddof=1) / len(gain) ** 0.5) if len(gain) > 1 else False


def ndcg(score: Array, label: Array, weight: Array, group: Array, n: int = 20) -> Array:
    """NDCG@n of each list with a good row; a single 0 where there is none. A row of weight w stands for w rows: it takes w places."""
    order = np.lexsort((-score, group))
    label, weight, group = label[order], weight[order], group[order]
    _, start, which = np.unique(group, return_index=True, return_inverse=True)
    below = np.cumsum(weight) - weight
    place = 1 + below - below[start][which]
    gain = label * (place <= n) / np.log2(1 + place)
    good = np.bincount(which, label).astype(int)
    ideal = np.cumsum(1 / np.log2(1 + np.arange(1, n + 1)))
    found = np.bincount(which, gain)[good > 0] / ideal[np.minimum(good[good > 0], n) - 1]
    return found if len(found) else np.zeros(1)


def calibration_error(probability: Array, label: Array, weight: Array, bins: int = 15) -> float:
    """Expected calibration error (Naeini et al. 2015): mean |predicted - observed| over bins of equal weight."""
    order = np.argsort(probability, kind="stable")
    place = np.cumsum(weight[order]) / max(weight.sum(), 1e-12)
    group = np.minimum((place * bins).astype(int), bins - 1)
    gap = np.bincount(group, (weight * (probability - label))[order], minlength=bins)
    return float(np.abs(gap).sum() / max(weight.sum(), 1e-12))


def _least(loss: Callable[[float], float], low: float, high: float) -> float:
    """Where a function with one valley is least, to a fiftieth: golden section search (Kiefer 1953)."""
    share = (5**0.5 - 1) / 2
    one, two = high - share * (high - low), low + share * (high - low)
    at_one, at_two = loss(one), loss(two)
    while high - low > 0.02:
        if at_one < at_two:
            high, two, at_two = two, one, at_one
            one = high - share * (high - low)
            at_one = loss(one)
        else:
            low, one, at_one = one, two, at_two
            two = low + share * (high - low)
            at_two = loss(two)
    return (low + high) / 2
