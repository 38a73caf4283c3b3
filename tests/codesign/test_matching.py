"""A single stage of equal cost takes as many operations as the cascade, counted on the experiment's log."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from narrows.codesign.cost import cascade_cost
from narrows.codesign.design import Design
from narrows.codesign.errors import CodesignError
from narrows.codesign.execute import execute
from narrows.codesign.experiment import ExperimentError, read
from narrows.codesign.matching import as_dear, counted, matched
from narrows.codesign.report.tables import matched as said
from narrows.codesign.run import Parts, timed_part
from narrows.codesign.schemes import network
from narrows.codesign.source import prepare
from narrows.codesign.summary import summarise
from narrows.codesign.train import Neural
from tests.codesign.experiments import TEXT, Trainer, planned, written
from tests.codesign.small_log import small_log

EQUAL = TEXT.replace('scheme = "single"', 'scheme = "single"\ncost = "equal"')
CASCADE = Design(widths=(4, 2))


@pytest.fixture(scope="module")
def parts():
    return Parts.of(small_log(120, 20), "cpu")


def test_operations_are_counted_as_the_result_will_say_them(parts):
    part = timed_part(parts, CASCADE)
    torch.manual_seed(0)
    models = tuple(Neural(network(stage, CASCADE, part)) for stage in CASCADE.stages)
    served = cascade_cost(models, part, CASCADE.served_widths, runs=1)
    assert counted(CASCADE, parts) == pytest.approx(sum(each.flops for each in served))
    state = torch.random.get_rng_state()
    counted(CASCADE, parts)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("rank", ["din", "mlp"])
def test_sizes_are_found_below_and_above(parts, rank):
    single = Design(scheme="single", rank=rank, cost="equal", widths=(2, 2))
    own = counted(single, parts)
    for target in (0.3 * own, 4 * own):
        made = as_dear(single, target, parts, "single")
        assert 0.85 * target < counted(made, parts) <= target
        assert made.widths == single.widths
    with pytest.raises(CodesignError, match=f"single: the smallest {rank} takes more than the 1 operations"):
        as_dear(single, 1.0, parts, "single")


def test_an_experiment_has_its_sizes_before_anything_is_trained(tmp_path):
    made = planned(tmp_path, EQUAL)
    assert made.names[-1] == "single, width 20, at equal cost"
    whole = matched(made, prepare(made, tmp_path / "var"))
    assert whole.designs[:-1] == made.designs[:-1]
    assert whole.designs[-1].rank_hidden != made.designs[-1].rank_hidden
    assert matched(whole, prepare(made, tmp_path / "var")) is whole
    assert matched(replace(made, designs=made.designs[:2]), prepare(made, tmp_path / "var")).designs == made.designs[:2]
    trained = Trainer()
    execute(made, tmp_path / "var", train=trained, only=4)
    assert {design.rank_hidden for design, *_ in trained.calls} == {whole.designs[-1].rank_hidden}


def test_the_report_says_how_equal_they_are(tmp_path):
    made = planned(tmp_path, EQUAL)
    made = matched(made, prepare(made, tmp_path / "var"))
    sentences = said(summarise(made, execute(made, tmp_path / "var", train=Trainer())))
    assert len(sentences) == 1
    assert sentences[0].startswith("“single, width 20, at equal cost” was made as dear as “independent, widths 6-3”")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('cost = "equal"', 'cost = "same"', "cost = 'same': give own or equal"),
        ('scheme = "single"', 'scheme = "joint"', "cost = 'equal': it is for scheme = 'single'"),
        ("[grid]", '[design]\nprerank = "lightgbm"\n[grid]', "no design is a cascade of networks"),
    ],
)
def test_what_cannot_be_matched_is_refused(old, new, says, tmp_path):
    with pytest.raises(ExperimentError, match=says):
        read(written(tmp_path, EQUAL.replace(old, new, 1)))
