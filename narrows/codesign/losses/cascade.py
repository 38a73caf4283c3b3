"""LCRON: the cascade's end-to-end survival as a loss (Wang et al. 2025, arXiv 2503.09492)."""

from __future__ import annotations

from functools import reduce
from operator import mul
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from narrows.codesign.losses.relax import EPSILON, RELAXATIONS, mean_of_items, mean_of_requests

if TYPE_CHECKING:
    from narrows.codesign.batch import Batch


class Uncertainty(nn.Module):
    """Weights of terms that are learned beside the models (Kendall et al. 2018): ``sum_i L_i / (2 w_i^2) + ln w_i``.

    The weights start at 1 and are kept as logarithms, so that they stay above 0.
    """

    def __init__(self, terms: int):
        super().__init__()
        self.log = nn.Parameter(torch.zeros(terms))

    def forward(self, terms: list[tuple[Tensor, Tensor]]) -> Tensor:
        """[] from terms [] and whether each says anything [] bool: a weight that belongs to an empty term stays."""
        log = self.log.to(terms[0][0].dtype)
        weighted = [(term * torch.exp(-2 * w) / 2 + w) * said for (term, said), w in zip(terms, log, strict=True)]
        return torch.stack(weighted).sum()


def end_to_end(survivals: list[tuple[Tensor, Tensor]], label: Tensor, mask: Tensor) -> Tensor:
    """LCRON's equation for the cascade, the mean over a request's items: [R].

    ``-[y_j ln prod_i kept_i(j) + (1 - y_j) ln(1 - prod_i (1 - cut_i(j)))]``. As in the authors' code the negative branch
    is written with the lower rows: the value is the same, and the gradient takes what is not wanted to them.
    """
    kept = reduce(mul, (kept for kept, _ in survivals))
    removed = reduce(lambda a, b: a + b - a * b, (cut for _, cut in survivals))
    wanted = (label > 0).to(kept.dtype)
    entropy = -wanted * torch.log(kept + EPSILON) - (1 - wanted) * torch.log(removed + EPSILON)
    return mean_of_items(entropy, mask)


class Lcron(nn.Module):
    """``L_e2e + sum_i L_i / (2 w_i^2) + ln w_i``: the whole cascade's survival, and that of each stage alone.

    As in the authors' code the end-to-end term has weight 1 (the paper's text weights it too) and L_i is the same
    cross-entropy with the one stage's survival, over requests that have more candidates than its quota. Requests in which
    no stage removes anything are left out of the end-to-end term as well: nothing can be learned from them.
    """

    def __init__(self, stages: int, tau: float = 50.0, relaxation: str = "neural_sort", single: bool = True):
        """
        Args:
            stages: how many.
            tau: temperature of the relaxation, in units of the scores times about n for neural_sort; 50 was best of
                {1, 20, 50, 100, 200, 1000} on RecFlow.
            relaxation: one of ``RELAXATIONS``.
            single: whether the stages' own terms take part.
        """
        super().__init__()
        self.stages, self.tau, self.relaxed, self.single = stages, tau, RELAXATIONS[relaxation], single
        self.weights = Uncertainty(stages)

    def forward(self, scores: tuple[Tensor, ...], batch: Batch, quotas: tuple[int, ...]) -> Tensor:
        """[] from scores [R, n] and the quota of each stage."""
        check(scores, quotas, self.stages)
        mask, count = batch.mask, batch.mask.sum(1)
        survivals = [self.relaxed(s, mask, quota, self.tau) for s, quota in zip(scores, quotas, strict=True)]
        each = end_to_end(survivals, batch.label, mask)
        loss = mean_of_requests(each, count > min(quotas), batch.request_weight)
        if not self.single:
            return loss
        return loss + self.weights(single_stage(survivals, batch, quotas))


def single_stage(
    survivals: list[tuple[Tensor, Tensor]], batch: Batch, quotas: tuple[int, ...]
) -> list[tuple[Tensor, Tensor]]:
    """The loss of each stage alone [], and whether any request is long enough for it [] bool."""
    count, terms = batch.mask.sum(1), []
    for kept_and_cut, quota in zip(survivals, quotas, strict=True):
        longer = count > quota
        each = end_to_end([kept_and_cut], batch.label, batch.mask)
        terms.append((mean_of_requests(each, longer, batch.request_weight), longer.any()))
    return terms


def check(scores: tuple[Tensor, ...], quotas: tuple[int, ...], stages: int) -> None:
    """Raises ValueError where the numbers of stages, scores and quotas differ."""
    if not len(scores) == len(quotas) == stages:
        raise ValueError(f"a loss of {stages} stages was given {len(scores)} scores and {len(quotas)} quotas")
