"""The losses: each against a reference in plain loops, its gradient, and what must not matter."""

import copy
import math

import numpy as np
import pytest
import torch

from narrows.codesign.batch import Batch
from narrows.codesign.losses import LOSSES, meanings, named
from tests.codesign import loss_reference as reference

QUOTAS = {2: (4, 3), 3: (5, 4, 2)}
LOG = (0.2, -0.3, 0.1, 0.4, -0.2, 0.3)
"""Logarithms of learned weights, away from their start."""
SHIFT_INVARIANT = {name for name in LOSSES if name not in ("rankflow", "icc")}
SORTED = {"lcron_softsort", "lcron_cut", "icc"}
"""Use single order statistics: at ties their gradient is one of several."""


def requests(stages: int, ties: bool = False, seed: int = 0) -> list[dict]:
    """Lists of all awkward kinds: no positives, all positives, one candidate, none, as short as a quota."""
    rng = np.random.default_rng(seed)
    made = []
    for n, positives in ((7, 2), (6, 0), (6, 6), (1, 1), (1, 0), (0, 0), (3, 1), (2, 1), (5, 2), (7, 3)):
        label = np.zeros(n, int)
        label[rng.permutation(n)[:positives]] = 1
        scores = rng.normal(size=(stages, n)) * 2
        if ties:
            scores = np.round(scores)
        made.append(
            {
                "scores": scores.tolist(),
                "label": label.tolist(),
                "grade": rng.integers(0, 3, n).tolist(),
                "weight": rng.uniform(1, 3, n).tolist(),
            }
        )
    return made


def padded(values: list[list], width: int, rng: np.random.Generator, dtype=np.float64) -> np.ndarray:
    """Rows of one length; what stands behind a list is noise."""
    result = rng.normal(size=(len(values), width)) * 50
    for row, one in zip(result, values, strict=True):
        row[: len(one)] = one
    return result.astype(dtype)


def tensors(made: list[dict], width: int = 9, seed: int = 5, dtype=torch.float64) -> tuple[list[torch.Tensor], Batch]:
    rng = np.random.default_rng(seed)
    sizes = [len(one["label"]) for one in made]
    stages = len(made[0]["scores"])
    scores = [
        torch.tensor(padded([one["scores"][i] for one in made], width, rng), dtype=dtype, requires_grad=True)
        for i in range(stages)
    ]
    part = {name: [one[name] for one in made] for name in ("label", "grade", "weight")}
    batch = Batch(
        sequence=torch.zeros(len(made), 1, dtype=torch.long),
        item=torch.ones(len(made), width, dtype=torch.long),
        features=torch.zeros(len(made), width, 1),
        label=torch.tensor(np.abs(padded(part["label"], width, rng)), dtype=torch.float32),
        grade=torch.tensor(padded(part["grade"], width, rng, np.int64)),
        weight=torch.tensor(np.abs(padded(part["weight"], width, rng)), dtype=dtype),
        mask=torch.arange(width) < torch.tensor(sizes)[:, None],
    )
    return scores, batch


def loss_of(name: str, stages: int, **settings):
    loss = named(name, stages, **settings)
    for weights in loss.parameters():
        weights.data = torch.tensor(LOG[: len(weights)], dtype=torch.float64)
    return loss


SETTINGS = {
    "lcron": {"tau": 5.0}, "lcron_e2e": {"tau": 5.0}, "arf": {"tau": 8.0}, "arf_v2": {"tau": 8.0},
    "rankflow": {"alpha": 0.3}, "icc": {"tau": 0.7},
}  # fmt: skip
"""With gradients that differ from nothing."""


def by_reference(name: str, made: list[dict], at: list, stages: int) -> float:
    quotas = QUOTAS[stages]
    match name:
        case "lcron":
            return reference.lcron(made, at, quotas, LOG[:stages], 5.0)
        case "lcron_e2e":
            return reference.lcron(made, at, quotas, LOG[:stages], 5.0, single=False)
        case "lcron_softsort":
            return reference.lcron(made, at, quotas, LOG[:stages], 1.0, "soft_sort")
        case "lcron_cut":
            return reference.lcron(made, at, quotas, LOG[:stages], 1.0, "soft_cut")
        case "arf" | "arf_v2":
            return reference.arf(made, at, quotas, LOG[: 2 * stages], 8.0, name == "arf_v2")
        case "rankflow":
            return reference.rankflow(made, at, quotas, 0.3)
        case "fs_ranknet":
            return reference.ranknet(made, stages)
        case "fs_lambdaloss":
            return reference.lambdaloss(made, at, quotas, 10.0)
        case _:
            return reference.icc(made, quotas, 0.7)


def both(name: str, stages: int, ties: bool = False, dtype=torch.float64):
    """The loss, its scores with gradients, and the requests."""
    made = requests(stages, ties)
    scores, batch = tensors(made, dtype=dtype)
    loss = loss_of(name, stages, **SETTINGS.get(name, {}))(tuple(scores), batch, QUOTAS[stages])
    loss.backward()
    return loss, scores, made


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("stages", [2, 3])
@pytest.mark.parametrize("name", LOSSES)
def test_value_is_that_of_plain_loops(name, stages, ties):
    loss, _, made = both(name, stages, ties)
    assert loss.item() == pytest.approx(by_reference(name, made, [one["scores"] for one in made], stages), rel=1e-9)


@pytest.mark.parametrize(
    ("name", "stages", "ties"),
    [
        (name, stages, ties)
        for name in LOSSES
        for stages in (2, 3)
        for ties in (False, True)
        if not ties or name not in SORTED
    ],
)
def test_gradient_is_that_of_finite_differences(name, stages, ties):
    """Of the reference: what passes no gradient stays where it was."""
    _, scores, made = both(name, stages, ties)
    at, step = copy.deepcopy([one["scores"] for one in made]), 1e-5
    for request, one in enumerate(made):
        for i in range(stages):
            for j in range(len(one["label"])):
                values = []
                for sign in (1, -1):
                    one["scores"][i][j] = at[request][i][j] + sign * step
                    values.append(by_reference(name, made, at, stages))
                one["scores"][i][j] = at[request][i][j]
                expected = (values[0] - values[1]) / (2 * step)
                assert scores[i].grad[request, j].item() == pytest.approx(expected, rel=2e-5, abs=2e-8)


@pytest.mark.parametrize("name", LOSSES)
def test_learned_weights_have_the_right_gradient(name):
    loss = loss_of(name, 2)
    scores, batch = tensors(requests(2))
    for weights in loss.parameters():
        loss(tuple(scores), batch, QUOTAS[2]).backward()
        if name == "lcron_e2e":
            assert weights.grad is None
            return
        for place in range(len(weights)):
            values = []
            for step in (1e-5, -1e-5):
                moved = copy.deepcopy(loss)
                next(moved.parameters()).data[place] += step
                values.append(moved(tuple(scores), batch, QUOTAS[2]).item())
            assert weights.grad[place].item() == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-6)


@pytest.mark.parametrize("stages", [2, 3])
@pytest.mark.parametrize("name", LOSSES)
def test_padding_never_matters(name, stages):
    """Neither its width nor what stands in it, nan and infinity included."""
    made, results = requests(stages), []
    for width, filling in ((7, 0.0), (12, float("nan")), (9, float("inf")), (8, -1e30)):
        scores, batch = tensors(made, width)
        padding = ~batch.mask
        for values in scores:
            values.data[padding] = filling
        loss = loss_of(name, stages)(tuple(scores), batch, QUOTAS[stages])
        loss.backward()
        assert all((values.grad[padding] == 0).all() for values in scores)
        results.append((loss.item(), np.stack([values.grad[:, :7].numpy() for values in scores])))
    for value, gradient in results[1:]:
        assert value == pytest.approx(results[0][0], rel=1e-12)
        np.testing.assert_allclose(gradient, results[0][1], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_the_order_of_the_candidates_never_matters(name):
    made = requests(2, ties=name not in SORTED)
    scores, batch = tensors(made)
    loss_of(name, 2)(tuple(scores), batch, QUOTAS[2]).backward()
    order = torch.randperm(9, generator=torch.Generator().manual_seed(3))
    moved = [values.detach()[:, order].requires_grad_() for values in scores]
    part = {part: getattr(batch, part)[:, order] for part in ("item", "features", "label", "grade", "weight", "mask")}
    loss_of(name, 2)(tuple(moved), Batch(sequence=batch.sequence, **part), QUOTAS[2]).backward()
    for values, other in zip(scores, moved, strict=True):
        torch.testing.assert_close(values.grad[:, order], other.grad, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", sorted(SHIFT_INVARIANT))
def test_a_constant_on_a_list_of_scores_changes_nothing(name):
    scores, batch = tensors(requests(2))
    loss = loss_of(name, 2)
    shifted = tuple(values + torch.arange(len(values))[:, None] * 10.0 for values in scores)
    expected = loss(tuple(scores), batch, QUOTAS[2]).item()
    assert loss(shifted, batch, QUOTAS[2]).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("stages", [2, 3])
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("scale", [0.0, 1e-30, 1e4, 1e12, 1e30])
def test_no_scores_make_it_nan(name, stages, scale):
    scores, batch = tensors(requests(stages), dtype=torch.float32)
    moved = [(values.detach() * scale).requires_grad_() for values in scores]
    loss = named(name, stages)(tuple(moved), batch, QUOTAS[stages])
    loss.backward()
    assert math.isfinite(loss.item())
    assert all(values.grad.isfinite().all() for values in moved)


@pytest.mark.parametrize("stages", [2, 3])
@pytest.mark.parametrize("name", LOSSES)
def test_float32_is_near_float64(name, stages):
    made = requests(stages)
    results = []
    for dtype in (torch.float32, torch.float64):
        scores, batch = tensors(made, dtype=dtype)
        loss = named(name, stages, **SETTINGS.get(name, {}))(tuple(scores), batch, QUOTAS[stages])
        loss.backward()
        results.append((loss.item(), [values.grad.double() for values in scores]))
    assert results[0][0] == pytest.approx(results[1][0], rel=2e-5)
    for single, double in zip(results[0][1], results[1][1], strict=True):
        torch.testing.assert_close(single, double, rtol=1e-3, atol=2e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_a_batch_of_nothing_is_zero(name):
    scores, batch = tensors([one for one in requests(2) if len(one["label"]) < 2])
    loss = named(name, 2)(tuple(scores), batch, QUOTAS[2])
    loss.backward()
    if name != "rankflow":  # pointwise: one candidate is enough
        assert loss.item() == 0
    assert all(values.grad.isfinite().all() for values in scores)


@pytest.mark.parametrize("name", LOSSES)
def test_descending_puts_wanted_items_among_the_survivors(name):
    """From the worst order, which is what a loss is for."""
    n, steps = 8, 400
    label = torch.tensor([[1.0] * 3 + [0.0] * 5]).repeat(4, 1)
    batch = Batch(
        sequence=torch.zeros(4, 1, dtype=torch.long), item=torch.ones(4, n, dtype=torch.long),
        features=torch.zeros(4, n, 1), label=label, grade=(label * 2).long(), weight=torch.ones(4, n),
        mask=torch.ones(4, n, dtype=torch.bool),
    )  # fmt: skip
    generator = torch.Generator().manual_seed(1)
    scores = [(torch.randn(4, n, generator=generator) * 0.1 - label * 0.3).requires_grad_() for _ in range(2)]
    loss = named(name, 2, **({"tau": 0.5} if name == "icc" else {}))
    optimizer = torch.optim.Adam([*scores, *loss.parameters()], lr=0.05)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(tuple(scores), batch, (4, 3)).backward()
        optimizer.step()
    inside = scores[0] >= scores[0].sort(1, descending=True).values[:, 3:4]
    final = torch.where(inside, scores[1], -torch.inf)
    assert (final.topk(3, 1).indices < 3).all()


def test_names():
    assert set(meanings()) == set(LOSSES)
    assert all(len(meaning) > 10 for meaning in meanings().values())
    with pytest.raises(ValueError, match="no loss is named 'lcorn'; there are lcron,"):
        named("lcorn")
    with pytest.raises(ValueError, match=r"loss fs_ranknet: .*tau"):
        named("fs_ranknet", tau=3)
    scores, batch = tensors(requests(2))
    with pytest.raises(ValueError, match="a loss of 3 stages was given 2 scores"):
        named("lcron", 3)(tuple(scores), batch, (3, 2))
