"""RankFlow: each stage learns on what the stages before it keep, and teaches them (Qin et al., SIGIR 2022)."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, mse_loss, softplus

from narrows.codesign.losses.cascade import check
from narrows.codesign.losses.pairwise import better_ones
from narrows.codesign.losses.relax import mean_of_requests

if TYPE_CHECKING:
    from narrows.codesign.batch import Batch


class RankFlow(nn.Module):
    """Cross-entropy of each stage on its own inputs, and distillation of each stage into the one before it.

    ``sum_i BCE_i + sum_i [(1 - alpha) MSE(sg sigmoid(s_{i+1}), sigmoid(s_i)) + alpha softplus(-(a_i - b_i))]``: BCE_i
    is over the candidates that all stages before i keep (their own first q), weighted by the sample; MSE over all
    candidates; a_i is the mean score of stage i on the later stage's first q_last candidates, b_i on its last half. All
    of them are updated at once, as in LCRON's comparison (the paper alternates); sg passes no gradient.
    """

    def __init__(self, stages: int, alpha: float = 0.0):
        super().__init__()
        self.stages, self.alpha = stages, alpha

    def forward(self, scores: tuple[Tensor, ...], batch: Batch, quotas: tuple[int, ...]) -> Tensor:
        """[] from scores [R, n], which are logits, and the quota of each stage."""
        check(scores, quotas, self.stages)
        mask, target = batch.mask, (batch.label > 0).to(scores[0].dtype)
        scores = tuple(torch.where(mask, values, 0.0) for values in scores)
        share = mask.to(scores[0].dtype) * (1.0 if batch.request_weight is None else batch.request_weight[:, None])
        weight, inputs, total = torch.where(mask, batch.weight, 0.0) * share, mask, scores[0].new_zeros(())
        for values, quota in zip(scores, quotas, strict=True):
            seen = (weight * inputs).to(values.dtype)
            entropy = binary_cross_entropy_with_logits(values, target, weight=seen, reduction="sum")
            total = total + entropy / seen.sum().clamp_min(1e-12)
            # ties at the quota are all kept, so that the order of the candidates plays no part
            inputs = inputs & (better_ones(values, inputs) < quota)
        for student, teacher in pairwise(scores):
            error = mse_loss(torch.sigmoid(student), torch.sigmoid(teacher).detach(), reduction="none")
            total = total + (1 - self.alpha) * (error * share).sum() / share.sum().clamp_min(1e-12)
            if self.alpha:
                total = total + self.alpha * self._top(student, teacher.detach(), batch, quotas[-1])
        return total

    @staticmethod
    def _top(student: Tensor, teacher: Tensor, batch: Batch, quota: int) -> Tensor:
        mask = batch.mask
        above = better_ones(teacher, mask)
        best, rest = mask & (above < quota), mask & (above >= (mask.sum(1, keepdim=True) + 1) // 2)
        first, last = ((student * part).sum(1) / part.sum(1).clamp_min(1) for part in (best, rest))
        return mean_of_requests(softplus(last - first), best.any(1) & rest.any(1), batch.request_weight)
