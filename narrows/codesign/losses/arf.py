"""ARF: each stage learns a relaxed recall and the whole order (Wang et al. 2024, arXiv 2310.10462)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from narrows.codesign.losses.cascade import Uncertainty, check, end_to_end
from narrows.codesign.losses.pairwise import levels
from narrows.codesign.losses.relax import EPSILON, mean_of_requests, neural_sort, survival

if TYPE_CHECKING:
    from narrows.codesign.batch import Batch


def true_order(level: Tensor, mask: Tensor) -> Tensor:
    """The permutation matrix [R, n ranks, n items], float64, of the levels [R, n], larger first; equal levels share their ranks."""
    above = ((level[:, None, :] > level[:, :, None]) & mask[:, None, :]).sum(2)
    alike = ((level[:, None, :] == level[:, :, None]) & mask[:, None, :]).sum(2)
    rank = torch.arange(level.shape[1], device=level.device)[None, :, None]
    inside = (rank >= above[:, None, :]) & (rank < (above + alike)[:, None, :]) & mask[:, None, :]
    return inside.double() / alike[:, None, :].clamp_min(1)


class Arf(nn.Module):
    """For each stage ``L_recall / (2 a^2) + L_order / (2 b^2) + ln a + ln b`` (ARF, section 4), summed.

    - ``L_order = -1/n sum_r sum_j T[r, j] ln P[r, j]``: cross-entropy of the NeuralSort matrix P against that of the
      levels T, in which candidates of one level share their ranks.
    - ``L_recall = -1/|y| sum_j y_j ln(1/m sum_{r <= m} P[r, j])``, m the quota: ARF's L_Relax. With ``survival`` it is
      LCRON's survival cross-entropy instead, which is how we read ARF-v2 in LCRON's comparison.
    """

    def __init__(self, stages: int, tau: float = 200.0, survival: bool = False):
        super().__init__()
        self.stages, self.tau, self.survival = stages, tau, survival
        self.weights = Uncertainty(2 * stages)

    def forward(self, scores: tuple[Tensor, ...], batch: Batch, quotas: tuple[int, ...]) -> Tensor:
        """[] from scores [R, n] and the quota of each stage."""
        check(scores, quotas, self.stages)
        mask, count, weight = batch.mask, batch.mask.sum(1), batch.request_weight
        order = true_order(levels(batch), mask).to(scores[0].dtype)
        wanted = ((batch.label > 0) & mask).to(scores[0].dtype)
        terms = []
        for values, quota in zip(scores, quotas, strict=True):
            relaxed = neural_sort(values, mask, self.tau)
            if self.survival:
                recall, said = end_to_end([survival(relaxed, mask, quota)], batch.label, mask), count > quota
            else:
                share = torch.log(relaxed[:, :quota].sum(1) / quota + EPSILON)
                recall, said = -(wanted * share).sum(1) / wanted.sum(1).clamp_min(1), wanted.any(1) & (count > quota)
            entropy = -(order * torch.log(relaxed + EPSILON)).sum((1, 2)) / count.clamp_min(1)
            terms.append((mean_of_requests(recall, said, weight), said.any()))
            terms.append((mean_of_requests(entropy, count > 1, weight), (count > 1).any()))
        return self.weights(terms)
