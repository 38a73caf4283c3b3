"""Each scheme trains what it says it trains, the same with each run, and beats chance."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from narrows.codesign.design import SCHEMES, Design
from narrows.codesign.run import Parts, run
from narrows.codesign.schemes import SCHEMES as FUNCTIONS
from narrows.codesign.schemes import standard, trained
from narrows.codesign.train import listwise, padded, pointwise
from narrows.codesign.worldlog import FlowWorld, flow_log
from narrows.world.settings import World

WORLD = World(users=300, items=200, days=30, sessions_per_day=0.5, subcategories=20, new_items=0.1, list_length=8)
SMALL = Design(widths=(12, 6), embedding_size=4, hidden=(16, 8), rank_hidden=(16,), trees=10, leaves=4, batch=64)


@pytest.fixture(scope="module")
def log():
    return flow_log(FlowWorld(world=WORLD, requests=900, past_days=10, recalled=60, keep=(30, 15, 6), sample=6))


@pytest.fixture(scope="module")
def parts(log):
    return Parts.of(log, "cpu")


def test_the_schemes_are_those_that_are_described():
    assert list(FUNCTIONS) == list(SCHEMES)


@pytest.mark.parametrize("prerank", ["two_tower", "lightgbm"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_beats_chance_and_repeats(log, parts, scheme, prerank):
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    design = replace(SMALL, scheme=scheme, prerank=prerank, epochs=3, learning_rate=0.03)
    one, again = (run(design, log, 3, parts=parts) for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert one.metrics == pytest.approx(again.metrics, nan_ok=True)
    assert one.metrics["joint_recall"] > 0.25 + 0.08  # chance: 6 of 24
    assert one.metrics["auc_rank"] > 0.55
    assert len(one.models) == len(design.stages)
    assert len(one.user) == len(parts.test.log) == len(one.by_request["value"])
    assert len(run(design, log, 3, judge="validation", parts=parts).user) == len(parts.validation.log)


def test_an_apart_trained_ranker_knows_only_what_the_logged_one_was_given(parts):
    log = parts.train.log
    features = log.features.copy()
    features[log.reached < 3] *= -1
    other = replace(parts.train, log=replace(log, features=features))
    part = parts.validation
    one, changed = (trained(SMALL, train, 0)[1].score(part) for train in (parts.train, other))
    np.testing.assert_array_equal(one, changed)
    widened = replace(SMALL, exposure="all")
    one, changed = (trained(widened, train, 0)[1].score(part) for train in (parts.train, other))
    assert (one != changed).any()


def test_a_ranker_learns_from_all_candidates_of_requests_that_no_ranker_was_logged_for(parts):
    log = parts.train.log
    part = replace(parts.train, log=replace(log, reached=np.ones_like(log.reached)))
    one, other = (trained(replace(SMALL, exposure=exposure), part, 0)[1] for exposure in ("own", "all"))
    np.testing.assert_allclose(one.score(parts.validation), other.score(parts.validation), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scheme", ["independent", "distilled", "survival", "joint"])
def test_three_stages_are_trained_and_serve_one_after_the_other(log, parts, scheme):
    design = replace(SMALL, scheme=scheme, widths=(18, 12, 6), retrieval_hidden=(8, 4), epochs=3, learning_rate=0.03)
    found = run(design, log, 3, parts=parts)
    assert [type(each.model).__name__ for each in found.models] == ["TwoTowers", "TwoTowers", "Din"]
    assert found.models[0].model.user_tower[0].out_features == 8
    metrics = found.metrics
    assert metrics["joint_recall"] > 0.25 + 0.08
    kept = metrics["survival_retrieval"] * metrics["survival_prerank"] * metrics["survival_rank"]
    assert 0 < kept < 1
    lost = sum(metrics[f"regret_{stage}"] for stage in design.stages)
    assert lost == pytest.approx(metrics["oracle"] - metrics["value"])


def test_trees_can_stand_between_two_networks(log, parts):
    for scheme in ("independent", "survival"):
        design = replace(SMALL, scheme=scheme, widths=(18, 12, 6), prerank="lightgbm", epochs=1)
        kinds = [type(each).__name__ for each in run(design, log, 3, parts=parts).models]
        assert kinds == ["Neural", "Trees", "Neural"]


def test_a_stage_that_learns_survival_knows_all_stages_after_it(parts, monkeypatch):
    """The first of three is taught the label times the cuts of the ranker and of the pre-ranker, at their widths."""
    from narrows.codesign import schemes

    asked = []
    real = schemes.by_soft_cut
    monkeypatch.setattr(schemes, "by_soft_cut", lambda scores, mask, quota, tau: (asked.append(quota), real(scores, mask, quota, tau))[1])  # fmt: skip
    trained(replace(SMALL, scheme="survival", widths=(18, 12, 6), epochs=1, batch=2000), parts.train, 0)
    assert asked == [6, 6, 12]


def test_a_distilled_pre_ranker_agrees_with_the_ranker_more_than_an_independent_one(log, parts):
    design = replace(SMALL, exposure="all", epochs=3, learning_rate=0.03)
    apart, student = (
        run(replace(design, scheme=scheme), log, 0, parts=parts) for scheme in ("independent", "distilled")
    )
    assert student.metrics["overlap_prerank"] > apart.metrics["overlap_prerank"] + 0.03


def test_pointwise_and_listwise_losses_are_those_of_their_definitions(parts):
    batch = parts.train.encoded.batch(torch.arange(5))
    scores = torch.randn(batch.item.shape)
    mask = batch.mask
    chance = torch.sigmoid(scores)
    entropy = -(batch.label * chance.log() + (1 - batch.label) * (1 - chance).log())
    expected = (entropy * batch.weight)[mask].sum() / batch.weight[mask].sum()
    torch.testing.assert_close(pointwise(scores, batch, True), expected)
    torch.testing.assert_close(pointwise(scores, batch, False), entropy[mask].mean())
    teacher, some = torch.randn(batch.item.shape), torch.rand(batch.item.shape) < 0.7
    expected = torch.stack([
        -(torch.softmax(teacher[r][some[r]] / 2, 0) * torch.log_softmax(scores[r][some[r]], 0)).sum() for r in range(5)
    ]).mean()  # fmt: skip
    torch.testing.assert_close(listwise(scores, teacher, some, 2.0), expected)


def test_rows_are_looked_up_by_request(parts):
    rows = np.arange(len(parts.train.log.item), dtype=float)
    requests = torch.tensor([7, 3])
    mask = parts.train.encoded.batch(requests).mask
    found = padded(rows, parts.train)(requests, mask)
    bounds = parts.train.log.bounds
    np.testing.assert_array_equal(found[0][mask[0]], rows[bounds[7] : bounds[8]])
    assert (found[~mask] == 0).all()


def test_scores_are_standardized_over_the_candidates_alone():
    scores, mask = torch.randn(3, 6), torch.rand(3, 6) < 0.8
    scaled = standard(scores, mask)
    for request in range(3):
        own = scores[request][mask[request]]
        torch.testing.assert_close(scaled[request][mask[request]], (own - own.mean()) / own.std(correction=0))
    assert (standard(torch.ones(2, 3), torch.ones(2, 3, dtype=torch.bool)) == 0).all()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"widths": (10, 20)}, "grow along the cascade"), ({"widths": (10,)}, "give two or three"), ({"widths": (9, 9, 9, 9)}, "give two or three"), ({"widths": (20, 10, 15)}, "grow along"),
        ({"widths": (9, 8, 7), "scheme": "joint", "prerank": "lightgbm"}, "two stages alone"), ({"retrieval": "din"}, "retrieval"),
        ({"retrieval_hidden": (0,)}, "at least 1 unit"), ({"channels": {"a": -1}}, "0 candidates or more"), ({"cost": "equal"}, "scheme = 'single'"), ({"scheme": "magic"}, "scheme"),
        ({"scheme": "joint", "loss": "none"}, "no loss is named"), ({"scheme": "joint", "prerank": "lightgbm", "loss": "arf"}, "trees descend"), ({"quotas": (1,)}, "one of at least 1"),
        ({"colour": 1}, "colour"), ({"hidden": ()}, "hidden"), ({"rank_hidden": (0,)}, "at least 1 unit"),
    ],
)  # fmt: skip
def test_impossible_designs_are_refused(wrong, says):
    with pytest.raises(ValidationError, match=says):
        Design(**wrong)


def test_a_single_stage_serves_the_last_width():
    assert Design(scheme="single").served_widths == (20,)
    assert Design().served_widths == (30, 20)
    assert Design(scheme="single").stages == ("rank",)
    assert Design(scheme="single", widths=(9, 8, 7)).served_widths == (7,)
    assert Design(widths=(9, 8, 7)).stages == ("retrieval", "prerank", "rank")


def test_a_joint_loss_keeps_half_of_the_list_unless_told():
    joint = Design(scheme="joint", widths=(30, 20))
    assert joint.loss_quotas == (10, 10)
    assert replace(joint, loss="rankflow").loss_quotas == (30, 20)
    assert replace(joint, quotas=(12, 5)).loss_quotas == (12, 5)
    assert replace(joint, widths=(2, 1)).loss_quotas == (1, 1)
    assert replace(joint, widths=(40, 30, 20)).loss_quotas == (10, 10, 10)
