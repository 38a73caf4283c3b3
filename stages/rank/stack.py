"""The last step of rank: prerank's score and the networks' logits become one calibrated probability."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

Array = np.ndarray


@dataclass(frozen=True)
class Stack:
    """probability = sigmoid(scale * (prerank * prerank_score + network * logit) + bias)."""

    prerank: float = 0.0
    network: float = 1.0
    scale: float = 1.0
    bias: float = 0.0

    def order(self, prerank_score: Array, logit: Array) -> Array:
        """What the list is ordered by, float64."""
        return self.prerank * prerank_score.astype(np.float64) + self.network * logit

    def probability(self, prerank_score: Array, logit: Array) -> Array:
        """float32 in (0, 1), in the same order."""
        x = self.scale * self.order(prerank_score, logit) + self.bias
        return (1 / (1 + np.exp(-x.clip(-30, 15)))).astype(np.float32)  # 15: float32 stays below 1


def fit(prerank_score: Array, logit: Array, label: Array, weight: Array, group: Array) -> Stack:
    """The weights by a softmax over each list (group, ascending), then scale and bias by weighted logistic loss.

    Platt (1999) for the calibration. Weights below 0 are put at 0: the simpler order stands where the other does
    not help.
    """
    both = torch.from_numpy(np.stack([prerank_score, logit], 1).astype(np.float64))
    target, sample = torch.from_numpy(label.astype(np.float64)), torch.from_numpy(weight.astype(np.float64))
    lists = torch.from_numpy(np.unique(group, return_inverse=True)[1])
    count = int(lists.max()) + 1 if len(lists) else 0
    good = torch.zeros(count, dtype=torch.float64).index_add(0, lists, target)
    share = (target / good.clamp_min(1)[lists])

    def listwise(weights: torch.Tensor) -> torch.Tensor:
        x = both @ weights
        top = x.detach().max() if len(x) else 0.0
        total = torch.zeros(count, dtype=torch.float64).index_add(0, lists, sample * torch.exp(x - top))
        loss = -(share * (x - top - total.log()[lists])).sum() / (good > 0).sum().clamp_min(1)
        return loss + 1e-4 * weights.square().sum()  # bounded even where the lists are told apart perfectly

    weights = _minimise(listwise, [0.5, 0.5])
    if min(weights) < 0:
        chosen = int(np.argmax(weights))
        weights = [1.0 if k == chosen else 0.0 for k in range(2)]
    x = both @ torch.tensor(weights, dtype=torch.float64)

    def logistic(line: torch.Tensor) -> torch.Tensor:
        return functional.binary_cross_entropy_with_logits(line[0] * x + line[1], target, sample) / sample.mean() + 1e-4 * line.square().sum()

    scale, bias = _minimise(logistic, [1.0, -3.0])
    return Stack(weights[0], weights[1], max(scale, 1e-3), bias)


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
