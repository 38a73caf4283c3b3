"""The loss at one stage's scores: its derivatives against those of the whole loss and against finite differences."""

import pytest
import torch

from narrows.codesign.curvature import HESSIANS, positive, slopes
from narrows.codesign.losses import named
from narrows.codesign.losses.relax import by_neural_sort
from tests.codesign.test_losses import requests, tensors

TAU, QUOTA = 5.0, 4


def found(scores: torch.Tensor, batch, others: torch.Tensor, single: float = 0.7):
    return slopes(scores, others, batch.label > 0, batch.mask, QUOTA, TAU, single)


def case(ties: bool = False):
    scores, batch = tensors(requests(2, ties))
    others, _ = by_neural_sort(scores[1].detach(), batch.mask, 3, TAU)
    return scores[0].detach(), scores[1].detach(), batch, others


@pytest.mark.parametrize("ties", [False, True])
def test_gradient_is_that_of_lcron(ties):
    """By automatic differentiation of the loss whose requests each count by their number of candidates."""
    first, second, batch, _ = case(ties)
    _, cut = by_neural_sort(second, batch.mask, 3, TAU)
    kept, _ = by_neural_sort(second, batch.mask, 3, TAU)
    others = torch.where(batch.label > 0, kept, 1 - cut)
    loss = named("lcron", tau=TAU)
    for request in range(len(first)):
        one = slice(request, request + 1)
        parts = {name: getattr(batch, name) for name in batch.__dataclass_fields__}
        own = type(batch)(**{name: None if whole is None else whole[one] for name, whole in parts.items()})
        values = first[one].clone().requires_grad_()
        count = int(own.mask.sum())
        loss((values, second[one]), own, (QUOTA, 3)).backward()
        if count <= QUOTA:
            continue
        got = found(values.detach(), own, others[one], single=0.5)
        torch.testing.assert_close(got.gradient / count, values.grad, rtol=1e-7, atol=1e-9)


def test_exact_diagonal_is_that_of_finite_differences():
    first, _, batch, others = case()
    got, step = found(first, batch, others), 1e-6
    for place in range(first.shape[1]):
        moved = [first.clone(), first.clone()]
        for values, sign in zip(moved, (1, -1), strict=True):
            values[:, place] += sign * step
        # columns' sums pass no gradient: move the gradient, not the loss
        above, below = (frozen(values, first, batch, others)[:, place] for values in moved)
        expected = (above - below) / (2 * step)
        torch.testing.assert_close(got.exact[:, place], expected, rtol=1e-5, atol=1e-6)
    assert (got.exact < 0).any()


def frozen(scores: torch.Tensor, at: torch.Tensor, batch, others: torch.Tensor) -> torch.Tensor:
    """The gradient [R, n] at these scores, the columns' sums those at others."""
    from narrows.codesign.losses.relax import EPSILON, neural_sort

    values = scores.clone().requires_grad_()
    columns = neural_sort(at, batch.mask, TAU).sum(1).clamp_min(EPSILON)
    permutation = neural_sort(values, batch.mask, TAU)
    wanted = batch.label > 0
    share = torch.where(wanted, permutation[:, :QUOTA].sum(1), permutation[:, QUOTA:].sum(1)) / columns
    inside = torch.where(wanted, others * share, 1 - others * (1 - share)) + EPSILON
    cost = -torch.log(inside) - 0.7 * torch.log(share + EPSILON)
    there = batch.mask & (batch.mask.sum(1) > QUOTA)[:, None]
    torch.where(there, cost, 0.0).sum().backward()
    assert values.grad is not None
    return values.grad


def test_gauss_newton_is_the_square_of_the_jacobian():
    first, _, batch, others = case()
    got, wanted = found(first, batch, others), batch.label > 0

    def share(values: torch.Tensor) -> torch.Tensor:
        kept, cut = by_neural_sort(values, batch.mask, QUOTA, TAU)
        return torch.where(wanted, kept, cut)

    jacobian = torch.stack(
        [torch.autograd.functional.jvp(share, first, torch.eye(9)[k].expand_as(first).double())[1] for k in range(9)], 2
    )
    u = share(first)
    inside = torch.where(wanted, others * u, 1 - others * (1 - u)) + 1e-6
    second = (others / inside) ** 2 + 0.7 / (u + 1e-6) ** 2
    expected = (second[:, :, None] * jacobian**2 * batch.mask[:, :, None]).sum(1)
    torch.testing.assert_close(got.gauss_newton, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("kind", HESSIANS)
def test_what_stands_for_the_hessian_is_never_negative(kind):
    first, _, batch, others = case(ties=True)
    assert (positive(found(first, batch, others), batch.mask, kind) >= 0).all()


@pytest.mark.parametrize("scale", [0.0, 1.0, 1e6, 1e20])
def test_float32_is_finite_and_near_float64(scale):
    first, _, batch, others = case()
    double = found(first * scale, batch, others)
    single = found((first * scale).float(), batch, others.float())
    for name in ("loss", "gradient", "gauss_newton", "exact"):
        value = getattr(single, name)
        assert value.isfinite().all()
        if scale <= 1:
            torch.testing.assert_close(value.double(), getattr(double, name), rtol=2e-4, atol=2e-4)
