"""Cost: counts by hand, timings that say what they are of, money; and smaller copies of models."""

from __future__ import annotations

import lightgbm as lgb
import numpy as np
import pytest
import torch
from torch import nn

from narrows.codesign.batch import Inputs
from narrows.codesign.compress import PRECISIONS, compressed
from narrows.codesign.cost import Prices, Seconds, StageCost, cascade_cost, stage_cost, timed, training_money
from narrows.codesign.counting import comparisons, counted, dot_products, parameter_bytes
from narrows.codesign.errors import CodesignError
from narrows.codesign.models import stage_model
from narrows.codesign.train import Neural, Part
from tests.codesign.small_log import small_log

LOG = small_log(requests=24)
INPUTS = Inputs.of(LOG)
PART = Part(LOG, INPUTS, torch.device("cpu"))
BATCH = PART.encoded.batch(torch.arange(24))
NAMES = ("two_tower", "mlp", "din", "linear")


def model(name: str, hidden: tuple[int, ...] = (32, 16)) -> nn.Module:
    torch.manual_seed(0)
    return stage_model(name, INPUTS, ranker=True, embedding_size=8, hidden=hidden)


def test_operations_of_a_layer_are_counted_as_by_hand():
    layer, rows = nn.Linear(20, 30), torch.randn(7, 20)
    found = counted(lambda: layer(rows))
    assert found.flops == 2 * 7 * 20 * 30
    assert found.moved_bytes == 4 * (7 * 20 + 20 * 30 + 30 + 7 * 30)
    assert found.peak_bytes == 4 * 7 * 30


def test_a_gathered_table_counts_what_is_read_of_it():
    table, codes = nn.Embedding(10_000, 8), torch.arange(5)
    assert counted(lambda: table(codes)).moved_bytes == 5 * 8 + 2 * 5 * 8 * 4


def test_results_that_ended_do_not_count_as_alive():
    rows = torch.randn(1000)
    assert counted(lambda: [rows * 2 for _ in range(3)]).peak_bytes == 3 * 4000
    assert counted(lambda: ((rows * 2) * 2) * 2).peak_bytes == 2 * 4000


def test_the_mlp_s_operations_are_those_of_its_layers():
    found = stage_cost(Neural(model("mlp")), PART, runs=2)
    width = 3 * 8 + INPUTS.width
    assert found.flops == pytest.approx(found.candidates * 2 * (width * 32 + 32 * 16 + 16))
    assert found.candidates == pytest.approx(LOG.sizes.mean())


def test_comparisons_of_trees_are_the_depths_that_rows_reach():
    random = np.random.default_rng(0)
    rows = random.normal(size=(500, 3))
    data = lgb.Dataset(rows, rows[:, 0] + rows[:, 1] > 0)
    booster = lgb.train({"objective": "binary", "num_leaves": 2, "verbose": -1, "num_threads": 1}, data, 5)
    assert comparisons(booster) == 5
    assert comparisons(booster, 3) == 3
    deeper = lgb.train({"objective": "binary", "num_leaves": 8, "verbose": -1, "num_threads": 1}, data, 4)
    leaves = np.asarray(deeper.predict(rows, pred_leaf=True))
    assert 4 * 2 < comparisons(deeper) <= 4 * 7
    assert leaves.shape == (500, 4)
    assert dot_products(3, 100, 16) == 2 * 3 * 100 * 16


class Trees:
    """A stage of trees, as the cost wants it."""

    def __init__(self) -> None:
        parameters = {"objective": "binary", "num_leaves": 4, "min_data_in_leaf": 5, "verbose": -1, "num_threads": 1}
        self.booster = lgb.train(parameters, lgb.Dataset(LOG.features.astype(float), LOG.label), 6)

    def score(self, part: Part) -> np.ndarray:
        return np.asarray(self.booster.predict(part.log.features.astype(float), raw_score=True))


def test_a_cascade_s_later_stages_score_only_what_comes_to_them():
    first, second = cascade_cost([Trees(), Neural(model("din"))], PART, (4, 2), runs=2)
    assert first.candidates == pytest.approx(LOG.sizes.mean())
    assert second.candidates == pytest.approx(np.minimum(LOG.sizes, 4).mean())
    whole = stage_cost(Neural(model("din")), PART, runs=2)
    assert second.flops / second.candidates < whole.flops / whole.candidates * 1.3
    assert 0 < first.flops < 6 * 3 * first.candidates
    assert set(second.flat("stage2")) >= {
        "flops_stage2",
        "cpu_seconds_stage2",
        "cpu_seconds_low_stage2",
        "gpu_seconds_stage2",
    }


def test_seconds_are_of_a_thousand_requests():
    cpu, gpu = timed(lambda: sum(range(200_000)), requests=10, runs=3)
    assert 0 < cpu.low <= cpu.median <= cpu.high < 10
    assert gpu == Seconds(0, 0, 0)


def test_money_is_the_price_table_times_what_was_spent():
    prices = Prices(cpu_hour=0.36, gpu_hour=3.6, gb=0.1)
    seconds = Seconds(2.0, 1.0, 3.0)
    cost = StageCost(100, 1e6, seconds, Seconds(0.5, 0.5, 0.5), 1e5, 4000, 1e6, 1e6)
    assert cost.money(prices, 1e6) == pytest.approx(2000 * 1e-4 + 500 * 1e-3 + 4 * 0.1)
    assert training_money(3600, prices, cores=2) == pytest.approx(0.72)
    assert training_money(3600, prices, cuda=True) == pytest.approx(3.6)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_smaller_copy_scores_and_leaves_the_original(name, precision):
    whole = model(name).eval()
    before = [each.clone() for each in whole.state_dict().values()]
    smaller = compressed(Neural(whole), precision).model
    with torch.inference_mode():
        scores, right = smaller(BATCH), whole(BATCH)
    assert scores.shape == right.shape
    assert torch.isfinite(scores[BATCH.mask]).all()
    assert all(torch.equal(one, other) for one, other in zip(before, whole.state_dict().values(), strict=True))
    if precision in ("bfloat16", "int8"):
        assert torch.corrcoef(torch.stack([scores[BATCH.mask], right[BATCH.mask]]))[0, 1] > 0.999


def test_what_each_compression_saves():
    whole = model("mlp", (128, 64))
    sizes = {
        name: parameter_bytes(compressed(Neural(whole), name).model.layers) for name in ("int8", "low_rank", "pruned")
    }
    dense = parameter_bytes(whole.layers)
    assert sizes["int8"] < 0.3 * dense
    assert sizes["low_rank"] < 0.6 * dense
    assert sizes["pruned"] < 0.55 * dense
    flops = {
        name: counted(lambda name=name: compressed(Neural(whole), name).model(BATCH)).flops
        for name in ("float32", "low_rank", "pruned")
    }
    assert flops["low_rank"] < 0.65 * flops["float32"]
    assert flops["pruned"] < 0.55 * flops["float32"]


def test_low_rank_is_the_truncated_decomposition():
    layer = nn.Linear(40, 40)
    whole = nn.Sequential(layer)
    thin = compressed(Neural(whole), "low_rank", keep=0.5).model
    values = torch.linalg.svdvals(layer.weight)
    product = thin[0][1].weight @ thin[0][0].weight
    assert float((layer.weight - product).detach().norm()) == pytest.approx(
        float(values[10:].norm().detach()), rel=1e-3
    )


def test_pruning_takes_the_units_that_count_least():
    whole = nn.Sequential(nn.Linear(2, 4, bias=False), nn.ReLU(), nn.Linear(4, 1))
    with torch.no_grad():
        whole[0].weight.copy_(torch.tensor([[1.0, 0], [0, 0.01], [0, 2], [0.1, 0.1]]))
        whole[2].weight.fill_(1.0)
    smaller = compressed(Neural(whole), "pruned", keep=0.5).model
    assert smaller[0].weight.tolist() == [[1.0, 0], [0, 2]]
    assert whole[0].weight.shape == (4, 2)


def test_trees_can_be_pruned_alone():
    trees = Trees()
    assert compressed(trees, "pruned").booster.num_trees() == 3
    assert trees.booster.num_trees() == 6
    with pytest.raises(CodesignError, match="keeps the first trees"):
        compressed(trees, "int8")
    with pytest.raises(CodesignError, match="there is no precision"):
        compressed(Neural(model("mlp")), "int3")
