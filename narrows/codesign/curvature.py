"""LCRON's loss as a function of one stage's scores, with its gradient and the diagonal of its hessian in closed form.

NeuralSort's logits are piecewise linear in the scores, so all derivatives of its softmax are products of the matrix
itself: a few multiplications of n x n matrices for a list, where automatic differentiation needs n passes for a diagonal.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from narrows.codesign.losses.relax import EPSILON, centred, neural_sort

HESSIANS = ("gauss_newton", "absolute", "clipped", "constant")
"""What stands for the diagonal of the hessian, which may be negative:

- gauss_newton: the exact one without the curvature of the relaxation, ``sum_j f_j'' (du_j/ds_k)^2``, never negative;
- absolute: the exact one's absolute value;
- clipped: the exact one, or a hundredth of the mean of its absolute value where it is less;
- constant: the mean of gauss_newton.
"""


@dataclass(frozen=True)
class Slopes:
    """Of the loss of each request (the sum over its candidates) at the scores of one stage; padding is 0."""

    loss: Tensor
    """[R]: ``sum_j f_j``."""
    gradient: Tensor
    """[R, n]: by the scores."""
    gauss_newton: Tensor
    """[R, n]: the diagonal of the hessian without the relaxation's curvature, 0 or more."""
    exact: Tensor | None
    """[R, n]: the diagonal of the hessian, of any sign; None where it was not asked for."""


def slopes(
    scores: Tensor, others: Tensor, wanted: Tensor, mask: Tensor, quota: int, tau: float, single: float,
    exact: bool = True,
) -> Slopes:  # fmt: skip
    """The derivatives of ``n (L_e2e + single L_i)`` by the scores of stage i (see `losses.cascade.Lcron`).

    With u_j the share of j's column in the rows that its label asks for (kept ones if it is wanted, else cut ones), the
    loss is ``sum_j f_j(u_j)``: f_j = -ln(o_j u_j) - single ln(u_j) where wanted, else -ln(1 - o_j (1 - u_j)) - single
    ln(u_j), o_j the survival in the other stages. P_rj's logits have the derivative d_rjk = [j = k] (n + 1 - 2r - S_j) +
    sign(s_j - s_k), over tau, S_j = sum_k sign(s_j - s_k), hence, with e_rk = sum_j P_rj d_rjk,
    dP_rj/ds_k = P_rj (d_rjk - e_rk) and d2P_rj/ds_k2 = P_rj ((d_rjk - e_rk)^2 - sum_m P_rm d_rmk^2 + e_rk^2).
    At equal scores the sign is 0, the middle of the two one-sided derivatives.

    Args:
        scores: float [R, n].
        others: float [R, n]: the product of the other stages' survival of each candidate.
        wanted: bool [R, n].
        mask: bool [R, n], False = padding.
        quota: of this stage.
        tau: temperature.
        single: weight of the stage's own term.
        exact: whether the exact diagonal is wanted, which takes half of the time.

    Returns:
        All zero for requests with no more candidates than the quota: the stage keeps all of them.
    """
    values, count = centred(scores, mask), mask.sum(1)
    both = mask[:, :, None] & mask[:, None, :]
    sign = torch.sign(values[:, :, None] - values[:, None, :]) * both
    permutation = neural_sort(scores, mask, tau)
    ranks = torch.arange(1, scores.shape[1] + 1, device=scores.device)
    factor = (count[:, None] + 1 - 2 * ranks).to(values.dtype)
    own = (factor[:, :, None] - sign.sum(2)[:, None, :]) / tau
    asked = (ranks[None, :, None] <= quota) == wanted[:, None, :]
    rows = permutation * asked / permutation.sum(1, keepdim=True).clamp_min(EPSILON)
    share = rows.sum(1)
    mean = permutation * own + permutation @ sign / tau
    with_mean = rows.transpose(1, 2) @ mean
    jacobian = share[:, :, None] * sign / tau - with_mean + torch.diag_embed((rows * own).sum(1))
    value, first, second = _costs(share, others, wanted, single)
    there = mask & (count > quota)[:, None]
    value, first, second = (torch.where(there, part, 0.0) for part in (value, first, second))
    gradient, gauss_newton = (first[:, None, :] @ jacobian)[:, 0], (second[:, None, :] @ jacobian**2)[:, 0]
    if not exact:
        return Slopes(value.sum(1), gradient, gauss_newton, None)
    square = permutation * own**2 + permutation @ sign.abs() / tau**2
    curvature = share[:, :, None] * sign.abs() / tau**2 - 2 * sign / tau * with_mean
    curvature += rows.transpose(1, 2) @ (2 * mean**2 - square)
    curvature += torch.diag_embed((rows * (own**2 - 2 * own * mean)).sum(1))
    return Slopes(value.sum(1), gradient, gauss_newton, gauss_newton + (first[:, None, :] @ curvature)[:, 0])


def _costs(share: Tensor, others: Tensor, wanted: Tensor, single: float) -> tuple[Tensor, Tensor, Tensor]:
    """f_j(u_j), its first and its second derivative, [R, n] each."""
    inside = torch.where(wanted, others * share, 1 - others * (1 - share)) + EPSILON
    steep, alone = others / inside, 1 / (share + EPSILON)
    value = -torch.log(inside) + single * torch.log(alone)
    return value, -steep - single * alone, steep**2 + single * alone**2


def positive(found: Slopes, mask: Tensor, kind: str) -> Tensor:
    """A diagonal that no Newton step runs uphill with, 0 or more: [R, n], see ``HESSIANS``."""
    if kind == "gauss_newton":
        return found.gauss_newton
    if kind == "constant":
        return torch.full_like(found.gauss_newton, float(found.gauss_newton[mask].mean()))
    assert found.exact is not None
    if kind == "absolute":
        return found.exact.abs()
    return found.exact.clamp_min(float(found.exact[mask].abs().mean()) / 100)
