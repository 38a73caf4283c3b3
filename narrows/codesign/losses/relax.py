"""Differentiable sorting: the probability-like share with which an item is among the first of a list."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

EPSILON = 1e-6
"""Least share in a logarithm, as in LCRON's code."""
LIMIT = 1e15
"""Scores farther than this from the mean of their list count as so far, so that nothing overflows in float32."""

Relaxation = Callable[[Tensor, Tensor, int, float], tuple[Tensor, Tensor]]
"""(scores [R, n], mask [R, n], quota, tau) -> kept [R, n], cut [R, n]."""


def centred(scores: Tensor, mask: Tensor) -> Tensor:
    """Scores less the mean of their list, within ``LIMIT``, and 0 in padding: no loss on orders knows the difference."""
    valid = torch.where(mask, scores, 0.0).clamp(-LIMIT, LIMIT)
    mean = valid.sum(1, keepdim=True) / mask.sum(1, keepdim=True).clamp_min(1)
    return torch.where(mask, valid - mean, 0.0)


def neural_sort(scores: Tensor, mask: Tensor, tau: float) -> Tensor:
    """NeuralSort's relaxed permutation matrix (Grover et al. 2019, equation 5).

    ``P[r, :] = softmax_j(((n + 1 - 2 r) s_j - sum_k |s_j - s_k|) / tau)`` for the rank r = 1 .. n. Rows sum to 1, columns
    need not. Time and memory O(n^2) for a list.

    Args:
        scores: float [R, n].
        mask: bool [R, n], False = padding.
        tau: temperature, above 0; towards 0 the matrix becomes the permutation that sorts.

    Returns:
        [R, n ranks, n items]; 0 in the columns of padding and in the rows beyond a list's length.
    """
    values, count = centred(scores, mask), mask.sum(1, keepdim=True)
    distances = ((values[:, :, None] - values[:, None, :]).abs() * mask[:, None, :]).sum(2)
    ranks = torch.arange(1, scores.shape[1] + 1, device=scores.device)
    factor = (count + 1 - 2 * ranks).to(values.dtype)
    logits = (factor[:, :, None] * values[:, None, :] - distances[:, None, :]) / tau
    return _rows(logits, mask, ranks <= count)


def soft_sort(scores: Tensor, mask: Tensor, tau: float) -> Tensor:
    """SoftSort's relaxed permutation matrix (Prillo and Eisenschlos 2020, equation 4, d = absolute difference).

    ``P[r, :] = softmax_j(-|s_(r) - s_j| / tau)``, s_(r) the r-th largest score. Arguments and result as `neural_sort`.
    """
    values, count = centred(scores, mask), mask.sum(1, keepdim=True)
    order = torch.where(mask, values, -torch.inf).argsort(dim=1, descending=True, stable=True)
    ordered = values.gather(1, order)
    logits = -(ordered[:, :, None] - values[:, None, :]).abs() / tau
    return _rows(logits, mask, torch.arange(1, scores.shape[1] + 1, device=scores.device) <= count)


def _rows(logits: Tensor, mask: Tensor, used: Tensor) -> Tensor:
    """The softmax of each used row [R, n] over the valid items."""
    logits = logits.masked_fill(~mask[:, None, :], torch.finfo(logits.dtype).min)
    return torch.softmax(logits, 2) * (used[:, :, None] & mask[:, None, :])


def survival(permutation: Tensor, mask: Tensor, quota: int) -> tuple[Tensor, Tensor]:
    """Shares with which an item is, and is not, among the first ``quota`` (LCRON, section 4.1).

    ``kept_j = sum_{r <= quota} P[r, j] / sg(sum_r P[r, j])``, cut_j the same over r > quota; sg passes no gradient, and
    makes up for columns that do not sum to 1. Their values sum to 1, their gradients differ: a loss that wants an item
    cut moves the lower rows. A list that is no longer than the quota keeps everything, with no gradient.

    Returns:
        kept and cut, [R, n] each, 0 in padding.
    """
    columns = permutation.sum(1).detach().clamp_min(EPSILON)
    kept, cut = permutation[:, :quota].sum(1) / columns, permutation[:, quota:].sum(1) / columns
    return _whole(kept, cut, mask, quota)


def by_neural_sort(scores: Tensor, mask: Tensor, quota: int, tau: float) -> tuple[Tensor, Tensor]:
    """`survival` in the order of `neural_sort`."""
    return survival(neural_sort(scores, mask, tau), mask, quota)


def by_soft_sort(scores: Tensor, mask: Tensor, quota: int, tau: float) -> tuple[Tensor, Tensor]:
    """`survival` in the order of `soft_sort`."""
    return survival(soft_sort(scores, mask, tau), mask, quota)


def by_soft_cut(scores: Tensor, mask: Tensor, quota: int, tau: float) -> tuple[Tensor, Tensor]:
    """DFTopK's share (arXiv 2510.11472): ``kept_j = sigmoid((s_j - (s_(q) + s_(q+1)) / 2) / tau)``, cut_j = 1 - kept_j.

    O(n) up to the selection of the two scores about the quota; the gradient passes through them too.
    """
    values = centred(scores, mask)
    top = torch.where(mask, values, -2 * LIMIT).topk(min(quota + 1, values.shape[1]), 1).values
    threshold = top[:, -2:].mean(1, keepdim=True)
    logits = (values - threshold) / tau
    return _whole(torch.sigmoid(logits) * mask, torch.sigmoid(-logits) * mask, mask, quota)


def _whole(kept: Tensor, cut: Tensor, mask: Tensor, quota: int) -> tuple[Tensor, Tensor]:
    """The same where a list is longer than the quota; else 1 and 0."""
    longer = mask.sum(1, keepdim=True) > quota
    return torch.where(longer, kept, mask.to(kept.dtype)), torch.where(longer, cut, 0.0)


RELAXATIONS: dict[str, Relaxation] = {
    "neural_sort": by_neural_sort,
    "soft_sort": by_soft_sort,
    "soft_cut": by_soft_cut,
}


def mean_of_requests(values: Tensor, chosen: Tensor, weight: Tensor | None = None) -> Tensor:
    """The mean [] of values [R] over the chosen requests [R] bool, by their weights [R]; 0 where there are none."""
    if weight is None:
        return torch.where(chosen, values, 0.0).sum() / chosen.sum().clamp_min(1)
    share = torch.where(chosen, weight, 0.0).to(values.dtype)
    return torch.where(chosen, values * share, 0.0).sum() / share.sum().clamp_min(1e-12)


def mean_of_items(values: Tensor, mask: Tensor) -> Tensor:
    """The mean [R] of values [R, n] over a request's valid items; 0 where there are none."""
    return torch.where(mask, values, 0.0).sum(1) / mask.sum(1).clamp_min(1)
