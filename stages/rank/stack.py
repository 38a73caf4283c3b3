"""The last step of rank: prerank's score and the networks' logits become one calibrated probability."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from narrows.metrics import ndcg, z_score

Array = np.ndarray
NETWORK_SHARES = np.linspace(0, 0.5, 6)
"""The networks' shares in the order that are tried."""
MIN_Z_SCORE = 2.58
"""Standard errors that a gain must exceed: 95% over the five shares above 0 (Bonferroni)."""
LOG2_SCALES = (-6.0, 6.0)
"""Range of the logarithm of the scale, base 2."""
OFFSET_RANGE = 30.0
"""A user's offset is searched within this distance of minus the mean of the user's scaled order."""
BISECTIONS = 24
"""Steps of that search."""


@dataclass(frozen=True)
class Stack:
    """probability = sigmoid(scale * order + the user's offset), where order = prerank * score + network * logit.

    The score is prerank's, or a simple order's (`features.simple`) where prerank's was not better.

    Prerank's score is comparable within a user only, so the user's base rate comes from the networks, also where they
    have no share in the order: the offset is that at which the user's mean probability is theirs.
    """

    prerank: float = 0.0
    network: float = 1.0
    scale: float = 1.0
    simple: str = ""
    """The simple order that takes the place of prerank's score, as that was not better on the held-out users; empty = prerank's."""

    def order(self, prerank_score: Array, logit: Array) -> Array:
        """What the list is ordered by, float64; where the networks have no share, their logits are not read."""
        order = self.prerank * prerank_score.astype(np.float64)
        return order + self.network * logit if self.network else order

    def probability(
        self, prerank_score: Array, logit: Array, user: Array, weight: Array | None = None, of: Array | None = None
    ) -> Array:
        """float32 in (0, 1), in the same order within a user.

        Args:
            prerank_score: (rows,).
            logit: of the networks (rows,).
            user: integers (rows,); the means are those of a user's rows.
            weight: how many rows of the user each one stands for (rows,); None = one.
            of: the rows whose logits these are, some of each user, where the networks have no share; None = all rows.
        """
        x = self.scale * self.order(prerank_score, logit)
        user = np.unique(user, return_inverse=True)[1]
        known, whose = (x, user) if of is None else (x[of], user[of])
        return _sigmoid(x + _offset(known, logit, whose, weight)[user]).astype(np.float32)


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x.clip(-30, 15)))  # 15: float32 stays below 1


def _offset(x: Array, logit: Array, user: Array, weight: Array | None) -> Array:
    """What each user adds to x so that its mean sigmoid(x) is the base rate, the mean sigmoid(logit).

    The sigmoid rises, so the offset is found by bisection. Users are 0 to users - 1, each with a row; float64 (users,).
    """
    weight = np.ones(len(x)) if weight is None else weight
    target = np.bincount(user, weight * _sigmoid(np.asarray(logit, np.float64)))
    total = np.maximum(np.bincount(user, weight), 1e-12)
    center = np.bincount(user, weight * x) / total
    low, high = -center - OFFSET_RANGE, -center + OFFSET_RANGE
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        below = np.bincount(user, weight * _sigmoid(x + middle[user])) < target
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return (low + high) / 2


def fit(
    prerank_score: Array, logit: Array, label: Array, weight: Array, group: Array, request: Array | None = None,
    simple: str = "", item: Array | None = None,
) -> Stack:  # fmt: skip
    """The networks' share in the order, by NDCG; then the scale, by the weighted log loss of the probability.

    Both scores are standardized and mixed. The share, from none to one half network, is the one whose NDCG@20 over the
    lists is best after smoothing over neighbouring shares, if it beats prerank's alone by more than MIN_Z_SCORE
    standard errors of the paired difference, see `z_score`: without a significant gain, prerank's order stands. More than one half
    is not trusted, as prerank learned from fewer windows for these lists than it serves with; but where the networks
    alone are significantly better still, they stand alone.

    Args:
        prerank_score: (rows,), out of sample.
        logit: of the networks, out of sample (rows,).
        label: 0 or 1 (rows,).
        weight: how many rows each one stands for (rows,).
        group: the list of each row, integers (rows,).
        simple: the name of the simple order that ``prerank_score`` holds instead, if it does.
        request: how many lists the row's stands for (rows,), in the log loss alone; None = one.
        item: of each row, integers (rows,); None = the lists want different items.
    """
    score, logit, label, weight = (np.asarray(a, np.float64) for a in (prerank_score, logit, label, weight))
    spread = [max(float(values.std()), 1e-9) if len(values) else 1.0 for values in (score, logit)]
    mixes = [(1 - s) * score / spread[0] + s * logit / spread[1] for s in (*NETWORK_SHARES, 1.0)]
    quality = np.stack([ndcg(x, label, weight, group) for x in mixes])  # [shares + 1, lists]
    smooth = np.convolve(np.pad(quality[:-1].mean(1), 1, mode="edge"), (0.25, 0.5, 0.25), "valid")
    best = int(np.argmax(smooth))
    lists = np.unique(group[label > 0], return_inverse=True)[1]  # of each positive
    items = None if item is None else item[label > 0]
    if z_score(quality[best] - quality[0], lists, items) <= MIN_Z_SCORE:
        best = 0
    alone = z_score(quality[-1] - quality[best], lists, items) > MIN_Z_SCORE
    share = 1.0 if alone else float(NETWORK_SHARES[best])
    prerank, network = (1 - share) / spread[0], share / spread[1]
    x = prerank * score + network * logit
    user = np.unique(group, return_inverse=True)[1]
    stands_for = weight if request is None else weight * np.asarray(request, np.float64)

    def log_loss(log2_scale: float) -> float:
        scaled = 2.0**log2_scale * x
        probability = _sigmoid(scaled + _offset(scaled, logit, user, weight)[user])
        return float(-(stands_for * np.log(np.where(label > 0, probability, 1 - probability))).sum())

    return Stack(float(prerank), float(network), 2.0 ** _minimum(log_loss, *LOG2_SCALES), simple)


def _minimum(loss: Callable[[float], float], low: float, high: float) -> float:
    """Where a unimodal function is least, to a fiftieth: golden section search (Kiefer 1953)."""
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
