"""The last step of rank: prerank's score and the networks' logits become one calibrated probability."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

Array = np.ndarray
SHARES = np.linspace(0, 0.5, 6)
SURE = 2.58
"""Standard errors that a gain must exceed: 95% over the five shares that are tried (Bonferroni)."""


@dataclass(frozen=True)
class Stack:
    """probability = sigmoid(scale * (order - its user's mean) + level * that mean + network_level * the mean logit + bias).

    The order is prerank * prerank_score + network * logit. Prerank's score is comparable within a user only, so how
    much a user takes at all is for the networks to say, also where they have no share in the order.
    """

    prerank: float = 0.0
    network: float = 1.0
    scale: float = 1.0
    level: float = 1.0
    network_level: float = 0.0
    bias: float = 0.0

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
        parts = _parts(self.order(prerank_score, logit), logit, user, weight)
        x = np.stack(parts, 1) @ [self.scale, self.level, self.network_level] + self.bias
        return (1 / (1 + np.exp(-x.clip(-30, 15)))).astype(np.float32)  # 15: float32 stays below 1


def _parts(order: Array, logit: Array, user: Array, weight: Array | None) -> tuple[Array, Array, Array]:
    """The order less its user's mean, that mean, and the user's mean logit; float64 (rows,) each."""
    user = np.unique(user, return_inverse=True)[1]
    rows = np.maximum(np.bincount(user, weight), 1e-12)

    def mean(values: Array) -> Array:
        return (np.bincount(user, values if weight is None else values * weight) / rows)[user]

    middle = mean(order)
    return order - middle, middle, mean(np.asarray(logit, np.float64))


def fit(prerank_score: Array, logit: Array, label: Array, weight: Array, group: Array) -> Stack:
    """How much of each order, by NDCG; then the probability by weighted logistic loss (after Platt 1999).

    Both scores are put on one scale and mixed in the share, from none to one half network, whose NDCG@20 over the
    lists (group) is best after smoothing over neighbouring shares, if it beats prerank's alone surely (95% interval
    of the paired difference): where the networks do not surely help, prerank's order stands. More than one half is not trusted, as prerank learnt from fewer windows for these lists than it serves
    with; but where prerank harms by more than a standard error the networks stand alone.
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
    parts = torch.from_numpy(np.stack(_parts(prerank * score + network * logit, logit, group, weight), 1))
    target, sample = torch.from_numpy(label), torch.from_numpy(weight)

    def logistic(line: torch.Tensor) -> torch.Tensor:
        x = parts @ line[:3] + line[3]
        loss = functional.binary_cross_entropy_with_logits(x, target, sample) / sample.mean()
        return loss + 1e-6 * line.square().sum()  # bounded even where the labels are told apart perfectly

    scale, level, network_level, bias = _minimise(logistic, [1.0, 1.0, 0.0, -3.0])
    return Stack(float(prerank), float(network), max(scale, 1e-3), level, network_level, bias)


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


def _minimise(loss: Callable[[torch.Tensor], torch.Tensor], start: list[float]) -> list[float]:
    values = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    solver = torch.optim.LBFGS([values], max_iter=100, line_search_fn="strong_wolfe")

    def step() -> torch.Tensor:
        solver.zero_grad()
        now = loss(values)
        now.backward()
        return now

    solver.step(step)
    return values.detach().tolist()
