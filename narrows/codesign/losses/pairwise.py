"""Pairwise losses on the full flow: FS-RankNet, FS-LambdaLoss, and ICC on one score of all stages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from narrows.codesign.losses.cascade import check
from narrows.codesign.losses.relax import LIMIT, centred, mean_of_requests

if TYPE_CHECKING:
    from narrows.codesign.batch import Batch


def levels(batch: Batch) -> Tensor:
    """How good each candidate was, int64 [R, n]: the stage it reached; wanted ones stand above all of their request."""
    grade = torch.where(batch.mask, batch.grade, 0)
    return torch.where((batch.label > 0) & batch.mask, grade.amax(1, keepdim=True) + 1, grade)


def _differences(values: Tensor) -> Tensor:
    """[R, n, n]: value of the row's item less that of the column's."""
    return values[:, :, None] - values[:, None, :]


class FlowRankNet(nn.Module):
    """FS-RankNet as LCRON's comparison describes it: the candidates of each level but the lowest against all of lower
    levels, ``softplus(s_k - s_j)``; the mean over a level's pairs, summed over a request's levels and over the stages.
    """

    def __init__(self, stages: int):
        super().__init__()
        self.stages = stages

    def forward(self, scores: tuple[Tensor, ...], batch: Batch, quotas: tuple[int, ...]) -> Tensor:
        """[] from scores [R, n]; the quotas play no part."""
        check(scores, quotas, self.stages)
        level, mask = levels(batch), batch.mask
        both = mask[:, :, None] & mask[:, None, :]
        better = (level[:, :, None] > level[:, None, :]) & both
        alike = ((level[:, :, None] == level[:, None, :]) & both).sum(2)
        of_level = (alike * better.sum(2)).clamp_min(1)
        total = scores[0].new_zeros(())
        for values in scores:
            costs = torch.where(better, softplus(-_differences(centred(values, mask))), 0.0).sum(2) / of_level
            total = total + mean_of_requests(costs.sum(1), better.any(2).any(1), batch.request_weight)
        return total


class FlowLambdaLoss(nn.Module):
    """LambdaLoss with the levels as gains: NDCG-Loss2++ (Wang et al. 2018, section 6.3) of each stage, summed.

    ``sum_{y_j > y_k} (rho_jk + mu delta_jk) |G_j - G_k| log2(1 + exp(-(s_j - s_k)))``, G_j = level / ideal DCG,
    rho = |1/D(r_j) - 1/D(r_k)|, delta = 1/D(d) - 1/D(d + 1) with d = max(|r_j - r_k|, 1), D(x) = log2(1 + x). Ranks
    come from the current scores and pass no gradient; equal scores share the mean rank, so nothing depends on the order
    of the candidates. A pair counts where one of the two is within the stage's quota. (The published variant also
    smooths, by .8 of something that its text does not say: left out.)
    """

    def __init__(self, stages: int, mu: float = 10.0):
        super().__init__()
        self.stages, self.mu = stages, mu

    def forward(self, scores: tuple[Tensor, ...], batch: Batch, quotas: tuple[int, ...]) -> Tensor:
        """[] from scores [R, n] and the quota of each stage."""
        check(scores, quotas, self.stages)
        level, mask = levels(batch), batch.mask
        better = (level[:, :, None] > level[:, None, :]) & mask[:, :, None] & mask[:, None, :]
        gain = torch.where(mask, level, 0).to(scores[0].dtype)
        total = scores[0].new_zeros(())
        for values, quota in zip(scores, quotas, strict=True):
            values = centred(values, mask)
            discount = 1 / torch.log2(torch.arange(2, values.shape[1] + 2, device=values.device).to(values.dtype))
            ideal = (gain.sort(1, descending=True).values * discount)[:, :quota].sum(1)
            rank = mean_ranks(values, mask)
            apart = _differences(rank).abs().clamp_min(1)
            swap = _differences(1 / torch.log2(1 + rank)).abs()
            step = 1 / torch.log2(1 + apart) - 1 / torch.log2(2 + apart)
            weight = (swap + self.mu * step) * _differences(gain).abs()
            pairs = better & (torch.minimum(rank[:, :, None], rank[:, None, :]) <= quota)
            costs = softplus(-_differences(values)) / torch.log(values.new_tensor(2.0)) * weight
            per_request = torch.where(pairs, costs, 0.0).sum((1, 2)) / ideal.clamp_min(1e-6)
            total = total + mean_of_requests(per_request, better.any(2).any(1), batch.request_weight)
        return total


def better_ones(values: Tensor, mask: Tensor) -> Tensor:
    """How many valid items of its list have a larger value than each item: int64 [R, n], no gradient."""
    return ((values[:, None, :] > values[:, :, None]) & mask[:, None, :]).sum(2)


def mean_ranks(values: Tensor, mask: Tensor) -> Tensor:
    """Ranks from 1 by falling values [R, n], no gradient; ties share the mean of their ranks, padding stands last."""
    above = better_ones(values, mask)
    alike = ((values[:, None, :] == values[:, :, None]) & mask[:, None, :]).sum(2)
    ranks = above + (alike + 1) / 2
    return torch.where(mask, ranks, values.shape[1]).to(values.dtype)


class Icc(nn.Module):
    """ICC (Gallagher et al. 2019) as LCRON's comparison describes it: RankNet on one score put together from all stages.

    A stage's soft cut is ``I_i = sigmoid((s_i - s_i(q)) / tau)``, s_i(q) the score of its q-th candidate; the score is
    ``sum_{i < last} (prod_{h < i} I_h) (1 - I_i) s_i + (prod_h I_h) s_last``; pairs are wanted against unwanted. For two
    stages that is ``(1 - I_1) s_1 + I_1 I_2 s_2``. It mixes the scales of the stages, so a shift of the scores changes it: where
    the ranker's scores of everything lie below the pre-ranker's, what is wanted gains by being cut, and the pre-ranker
    learns the reverse order.
    """

    def __init__(self, stages: int, tau: float = 1e-3):
        super().__init__()
        self.stages, self.tau = stages, tau

    def forward(self, scores: tuple[Tensor, ...], batch: Batch, quotas: tuple[int, ...]) -> Tensor:
        """[] from scores [R, n] and the quota of each stage."""
        check(scores, quotas, self.stages)
        mask = batch.mask
        reach, whole = torch.ones_like(scores[0]), torch.zeros_like(scores[0])
        for place, (values, quota) in enumerate(zip(scores, quotas, strict=True), start=1):
            values = torch.where(mask, values, 0.0).clamp(-LIMIT, LIMIT)
            ordered = torch.where(mask, values, -2 * LIMIT).sort(1, descending=True).values
            last = (mask.sum(1, keepdim=True).clamp(1, quota) - 1).clamp_min(0)
            inside = torch.sigmoid((values - ordered.gather(1, last)) / self.tau)
            whole = whole + reach * values * (inside if place == self.stages else 1 - inside)
            reach = reach * inside
        wanted = batch.label > 0
        pairs = wanted[:, :, None] & ~wanted[:, None, :] & mask[:, :, None] & mask[:, None, :]
        costs = torch.where(pairs, softplus(-_differences(whole)), 0.0)
        per_request = costs.sum((1, 2)) / pairs.sum((1, 2)).clamp_min(1)
        return mean_of_requests(per_request, pairs.any(2).any(1), batch.request_weight)
