"""Trees that descend the end-to-end loss: what LightGBM is told, and that the cascade learns."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from narrows.codesign import objective
from narrows.codesign.batch import Inputs
from narrows.codesign.boosting import Turns, epochs, in_turn
from narrows.codesign.design import Design
from narrows.codesign.evaluate import evaluate
from narrows.codesign.log import FlowLog
from narrows.codesign.losses.cascade import end_to_end
from narrows.codesign.losses.relax import by_neural_sort
from narrows.codesign.models import Stage, stage_model
from narrows.codesign.objective import EndToEnd
from narrows.codesign.train import Part
from narrows.codesign.trees import Trees
from tests.codesign.small_log import small_log

QUOTAS = (3, 2)
SMALL = Design(
    scheme="joint", prerank="lightgbm", rank="linear", widths=QUOTAS, trees=30, leaves=5, tau=5.0, epochs=3, batch=64,
    learning_rate=0.05,
)  # fmt: skip


def learnable(requests: int = 300, seed: int = 3) -> FlowLog:
    """The small log, in which the columns say what is wanted."""
    log = small_log(requests, seed=seed)
    rng = np.random.default_rng(seed)
    liking = np.nan_to_num(log.features[:, 0]) + 0.5 * np.nan_to_num(log.features[:, 1])
    return replace(log, label=(liking + rng.normal(size=len(liking)) > 1.2).astype(np.float32))


def parts(log: FlowLog, *others: FlowLog) -> tuple[Part, ...]:
    inputs = Inputs.of(log)
    return tuple(Part(one, inputs, torch.device("cpu")) for one in (log, *others))


def ranker(part: Part) -> Stage:
    torch.manual_seed(0)
    return stage_model("linear", part.inputs, True)


def test_lightgbm_is_told_the_gradient_of_the_loss(monkeypatch):
    """Each request counts by its number of candidates; from the parts of the losses, in chunks that are not whole."""
    monkeypatch.setattr(objective, "CHUNK", 7)
    (part,) = parts(learnable(40))
    batch, single = part.encoded.batch(torch.arange(40)), 0.4
    mask, count = batch.mask, batch.mask.sum(1)
    matrices = [torch.randn(mask.shape, generator=torch.Generator().manual_seed(k)).requires_grad_() for k in range(2)]
    flat = [matrix.detach()[mask].double().numpy() for matrix in matrices]
    told = EndToEnd(part.log, QUOTAS, 5.0, "gauss_newton")
    told.single = single
    told.set_ranker(flat[1])
    gradient, hessian = told(flat[0])
    pairs = [by_neural_sort(matrix, mask, quota, 5.0) for matrix, quota in zip(matrices, QUOTAS, strict=True)]
    per_request = end_to_end(pairs, batch.label, mask) + single * end_to_end(pairs[:1], batch.label, mask)
    loss = (per_request * count)[count > QUOTAS[0]].sum()
    loss.backward()
    assert told.loss == pytest.approx(loss.item() / len(part.log.item), rel=1e-5)
    np.testing.assert_allclose(gradient, matrices[0].grad[mask].numpy(), rtol=1e-3, atol=1e-5)
    assert (hessian >= 0).all()
    assert hessian.max() > 0
    assert gradient.dtype == hessian.dtype == np.float32


@pytest.mark.parametrize("hessian", ["gauss_newton", "absolute", "clipped", "constant"])
@pytest.mark.parametrize("warm_share", [0, 0.3])
def test_trees_descend_while_the_ranker_stands_still(hessian, warm_share):
    """From equal scores, and on top of trees that learnt the labels."""
    (part,) = parts(learnable())
    still = replace(SMALL, learning_rate=1e-12)
    joint = in_turn(still, part, ranker(part), 0, Turns(turns=1, warm_share=warm_share, hessian=hessian))
    assert joint.history[0]["after"] < joint.history[0]["before"] * 0.995
    assert joint.trees.booster.num_trees() == SMALL.trees


def test_trees_and_ranker_in_turn_make_a_cascade_that_ranks():
    log = learnable(500)
    part, test = parts(log.take(np.arange(350)), log.take(np.arange(350, 500)))
    seen, rank = [], ranker(part)

    def watch(trees: Trees, rank: torch.nn.Module) -> dict[str, float]:
        seen.append(trees.booster.num_trees())
        return {"ranker": float(rank.layer.weight.detach().abs().sum())}

    joint = in_turn(SMALL, part, rank, 0, Turns(turns=5, warm_share=1 / 6), watch)
    assert seen == [10, 15, 20, 25, 30]
    assert len({about["ranker"] for about in joint.history}) == 5
    assert len({about["single"] for about in joint.history}) == 5
    scores = [model.score(test) for model in (joint.trees, joint.rank)]
    random = [np.random.default_rng(0).normal(size=len(test.log.item)) for _ in range(2)]
    got, chance = (evaluate(test.log, ("prerank", "rank"), both, QUOTAS).metrics for both in (scores, random))
    assert got["joint_recall"] > chance["joint_recall"] + 0.15
    assert got["recall_prerank"] > chance["recall_prerank"] + 0.1


def test_the_same_seed_makes_the_same_cascade():
    (part,) = parts(learnable(100))
    first, second = (in_turn(SMALL, part, ranker(part), 4, Turns(turns=2)) for _ in range(2))
    assert first.trees.booster.model_to_string() == second.trees.booster.model_to_string()
    np.testing.assert_array_equal(first.rank.score(part), second.rank.score(part))


@pytest.mark.parametrize("loss", ["lcron_cut", "rankflow"])
def test_other_losses_are_refused(loss):
    (part,) = parts(learnable(20))
    with pytest.raises(ValueError, match="trees descend lcron or lcron_e2e alone"):
        in_turn(replace(SMALL, loss=loss, tau=None), part, ranker(part), 0)


def test_an_epoch_sees_every_request_once():
    batches = epochs(50, replace(SMALL, epochs=2, batch=8), 0)
    assert len(batches) == 14
    both = [int(request) for batch in batches for request in batch]
    assert sorted(both[:50]) == sorted(both[50:]) == list(range(50))
    assert both[:50] != both[50:]
