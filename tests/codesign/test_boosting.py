"""Trees that descend the end-to-end loss: what LightGBM is told, and that the cascade learns."""

from dataclasses import replace

import lightgbm
import numpy as np
import pytest
import torch

from narrows.codesign import objective, trees
from narrows.codesign.batch import Encoded, Inputs
from narrows.codesign.boosting import Steps, Turns, in_turn, scores_of
from narrows.codesign.evaluate import evaluate
from narrows.codesign.log import FlowLog
from narrows.codesign.losses import named
from narrows.codesign.losses.relax import by_neural_sort
from narrows.codesign.models import stage_model
from narrows.codesign.objective import EndToEnd
from narrows.codesign.trees import Growth, Trees, pointwise, seen_columns
from tests.codesign.small_log import small_log

QUOTAS = (3, 2)
SMALL = Growth(trees=30, leaves=7, min_rows=10)


def learnable(requests: int = 300, seed: int = 3) -> FlowLog:
    """The small log, in which column a says what is wanted."""
    log = small_log(requests, seed=seed)
    rng = np.random.default_rng(seed)
    liking = np.nan_to_num(log.features[:, 0]) + 0.5 * np.nan_to_num(log.features[:, 1])
    return replace(log, label=(liking + rng.normal(size=len(liking)) > 1.2).astype(np.float32))


def encoded(log: FlowLog) -> tuple[Inputs, Encoded]:
    inputs = Inputs.of(log)
    return inputs, inputs.encode(log)


def whole_loss(train: Encoded, first: torch.Tensor, second: torch.Tensor, tau: float, single: float) -> torch.Tensor:
    """The loss as LightGBM sums it: every request by its number of candidates, from the losses' own parts."""
    from narrows.codesign.losses.cascade import end_to_end

    total, batch = torch.zeros(()), train.batch(torch.arange(len(train)))
    mask, count = batch.mask, batch.mask.sum(1)
    pairs = [by_neural_sort(s, mask, q, tau) for s, q in ((first, QUOTAS[0]), (second, QUOTAS[1]))]
    per_request = end_to_end(pairs, batch.label, mask) + single * end_to_end(pairs[:1], batch.label, mask)
    return total + (per_request * count)[count > QUOTAS[0]].sum()


def test_lightgbm_is_told_the_gradient_of_the_loss(monkeypatch):
    monkeypatch.setattr(objective, "CHUNK", 7)
    _, train = encoded(learnable(40))
    batch = train.batch(torch.arange(len(train)))
    generator = torch.Generator().manual_seed(0)
    flat = [torch.randn(len(train.item), generator=generator) for _ in range(2)]
    told = EndToEnd(train, QUOTAS, 5.0, "gauss_newton")
    told.single = 0.4
    told.set_ranker(flat[1])
    gradient, hessian = told(flat[0].double().numpy())
    matrices = []
    for values in flat:
        matrix = torch.zeros(batch.mask.shape)
        matrix[batch.mask] = values
        matrices.append(matrix.requires_grad_())
    loss = whole_loss(train, *matrices, tau=5.0, single=0.4)
    loss.backward()
    assert told.loss == pytest.approx(loss.item() / len(train.item), rel=1e-5)
    np.testing.assert_allclose(gradient, matrices[0].grad[batch.mask].numpy(), rtol=1e-3, atol=1e-5)
    assert (hessian >= 0).all()
    assert hessian.max() > 0
    assert gradient.dtype == hessian.dtype == np.float32


@pytest.mark.parametrize("hessian", ["gauss_newton", "absolute", "clipped", "constant"])
@pytest.mark.parametrize("warm", [0, 10])
def test_trees_descend_while_the_ranker_stands_still(hessian, warm):
    """From the first tree on, and after trees that learnt something else."""
    inputs, train = encoded(learnable())
    torch.manual_seed(0)
    ranker = stage_model("linear", inputs, True)
    turns = Turns(turns=1, warm_trees=warm, hessian=hessian, epochs=0)
    joint = in_turn(train, [0], ranker, named("lcron", tau=5.0), QUOTAS, SMALL, turns)
    assert joint.history[0]["train"] < joint.history[0]["before"] * 0.99
    assert joint.trees.booster.num_trees() == SMALL.trees


def test_trees_and_ranker_in_turn_make_a_cascade_that_ranks():
    log = learnable(500)
    train_log, test = log.take(np.arange(350)), log.take(np.arange(350, 500))
    inputs, train = encoded(train_log)
    torch.manual_seed(0)
    ranker, loss = stage_model("linear", inputs, True), named("lcron", tau=5.0)
    seen = []

    def watch(stage: Trees, ranker: torch.nn.Module) -> dict[str, float]:
        seen.append(stage.trees)
        return {"ranker": float(ranker.layer.weight.detach().abs().sum())}

    turns = Turns(turns=5, warm_trees=5, epochs=3, batch=64, learning_rate=0.05)
    joint = in_turn(train, seen_columns(inputs), ranker, loss, QUOTAS, SMALL, turns, watch)
    assert seen == [10, 15, 20, 25, 30]
    assert len({about["ranker"] for about in joint.history}) == 5
    assert (loss.weights.log.detach() != 0).all()
    part = inputs.encode(test)
    scores = [scores_of(model, part).numpy() for model in (joint.trees, joint.ranker)]
    random = [np.random.default_rng(0).normal(size=len(test.item)) for _ in range(2)]
    got, chance = (evaluate(test, ("prerank", "rank"), both, QUOTAS).metrics for both in (scores, random))
    assert got["joint_recall"] > chance["joint_recall"] + 0.15


def test_the_same_seed_makes_the_same_trees():
    inputs, train = encoded(learnable(100))
    texts = []
    for _ in range(2):
        torch.manual_seed(1)
        ranker = stage_model("linear", inputs, True)
        turns = Turns(turns=2, warm_trees=5, epochs=1, batch=32)
        joint = in_turn(train, [0], ranker, named("lcron", tau=5.0), QUOTAS, SMALL, turns)
        texts.append(joint.trees.booster.model_to_string())
    assert texts[0] == texts[1]


def test_only_neural_sort_has_the_derivatives():
    inputs, train = encoded(learnable(20))
    with pytest.raises(ValueError, match="neural_sort only"):
        in_turn(train, [0], stage_model("linear", inputs, True), named("lcron_cut"), QUOTAS, SMALL, Turns())


def test_pointwise_trees_learn_soft_labels_and_weights():
    inputs, train = encoded(learnable())
    columns = seen_columns(inputs)
    assert 1 not in columns  # the ranker's own
    hard, soft = pointwise(train, columns, SMALL), pointwise(train, columns, SMALL, train.label.numpy() * 0.5)
    batch = train.batch(torch.arange(5))
    assert (torch.sigmoid(hard(batch))[batch.mask].mean() > torch.sigmoid(soft(batch))[batch.mask].mean() * 1.4).all()
    assert (hard(batch)[~batch.mask] == 0).all()
    flat = scores_of(hard, train)
    expected = hard.booster.predict(trees.table(train.features, train.item, columns), raw_score=True)
    np.testing.assert_allclose(flat, expected, rtol=1e-5, atol=1e-6)


def test_trees_may_be_cut_short():
    _, train = encoded(learnable(60))
    whole = pointwise(train, [0], SMALL)
    short, batch = Trees(whole.booster, [0], trees=3), train.batch(torch.arange(5))
    assert not torch.equal(short(batch), whole(batch))
    text = lightgbm.Booster(model_str=whole.booster.model_to_string(num_iteration=3))
    torch.testing.assert_close(short(batch), Trees(text, [0])(batch))


def test_steps_see_every_request_once_an_epoch():
    _, train = encoded(learnable(50))
    steps = Steps(train, Turns(turns=3, epochs=2, batch=8), torch.Generator().manual_seed(0))
    drawn = [steps.until(share) for share in (1 / 3, 2 / 3, 1)]
    assert [len(part) for part in drawn] == [5, 4, 5]
    both = [int(request) for part in drawn for batch in part for request in batch]
    assert sorted(both[:50]) == sorted(both[50:]) == list(range(50))
