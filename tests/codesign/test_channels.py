"""Quotas of recall channels: which candidates they leave, what that loses, and what a file may say of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from narrows.cli.main import main
from narrows.codesign.channels import ChannelError, each_in_turn, limits, offered
from narrows.codesign.design import Design
from narrows.codesign.evaluate import evaluate
from narrows.codesign.experiment import READY, ExperimentError, read
from narrows.codesign.log import FlowLog
from narrows.codesign.run import Parts, judged
from narrows.codesign.source import prepare
from narrows.codesign.summary import summarise
from narrows.codesign.worldlog import FlowWorld, flow_log
from narrows.world.settings import World
from tests.codesign.experiments import TEXT, Trainer, written
from tests.codesign.small_log import small_log, with_channels

WORLD = World(users=60, items=300, days=12, sessions_per_day=0.6, subcategories=20, new_items=0.2, list_length=8)
CHANNELS = {
    "popular": {"taste": 0.0, "popular": 1.0, "error": 0.2},
    "near": {"taste": 1.0, "error": 2.5},
    "model": {"taste": 1.0, "error": 0.8},
}
SMALL = FlowWorld(world=WORLD, requests=80, past_days=5, recalled=60, keep=(30, 15, 6), sample=0, channels=CHANNELS)
QUOTAS = """
[[designs]]
channels = { popular = 2 }
"""


@pytest.fixture(scope="module")
def world():
    return flow_log(SMALL)


def test_a_channel_gives_its_quota_the_others_what_is_said_of_them():
    assert limits(("a", "b", "c"), (("a", 3), ("others", 7))) == {"a": 3, "b": 7, "c": 7}
    assert limits(("a", "b"), (("b", 0),)) == {"a": None, "b": 0}
    with pytest.raises(ChannelError, match="no channel 'd': there are a, b"):
        limits(("a", "b"), (("d", 1),))
    log = with_channels()
    assert offered(log, ()) is None
    found = offered(log, (("popular", 2), ("near", 1)))
    popular, near = log.channel_rank.T
    np.testing.assert_array_equal(found, ((popular > 0) & (popular <= 2)) | (near == 1))
    with pytest.raises(ChannelError, match="leave no candidate"):
        offered(log, (("others", 0),))
    with pytest.raises(ChannelError, match="write a new one"):
        offered(small_log(), (("others", 1),))


def test_each_makes_a_design_for_every_channel():
    made = each_in_turn({"scheme": "joint", "channels": {"others": 9, "each": 0}}, ("a", "b"))
    assert [one["channels"] for one in made] == [{"others": 9, "a": 0}, {"others": 9, "b": 0}]
    assert each_in_turn({"widths": [3, 2]}, ()) == [{"widths": [3, 2]}]
    with pytest.raises(ChannelError, match="'each' needs a log that knows its channels"):
        each_in_turn({"channels": {"each": 0}}, ())


def test_a_log_keeps_its_channels(tmp_path):
    log = with_channels()
    log.save(tmp_path)
    again = FlowLog.load(tmp_path)
    assert again.channels == log.channels
    np.testing.assert_array_equal(again.channel_rank, log.channel_rank)
    some = log.take(np.array([5, 3]))
    np.testing.assert_array_equal(some.channel_rank[: log.sizes[5]], log.channel_rank[log.bounds[5] : log.bounds[6]])
    rows = log.label > 0
    kept = log.only(rows)
    np.testing.assert_array_equal(kept.sizes, np.bincount(log.request, rows, len(log)))
    np.testing.assert_array_equal(kept.channel_rank, log.channel_rank[rows])
    np.testing.assert_array_equal(kept.value, log.value[rows])


def test_what_is_not_offered_is_lost_and_counted():
    """Against plain loops: the labels that no channel offers stay in every denominator."""
    log = with_channels()
    scores = np.random.default_rng(0).normal(size=(2, len(log.item)))
    rows = offered(log, (("popular", 2), ("near", 0)))
    found = evaluate(log, ("prerank", "rank"), scores, (3, 2), offered=rows).metrics
    recall, kept, came, all_of, values = [], 0.0, 0.0, 0.0, []
    for request in range(len(log)):
        whole = np.arange(log.bounds[request], log.bounds[request + 1])
        some = whole[rows[whole]]
        first = some[np.argsort(-scores[0][some])][:3]
        last = first[np.argsort(-scores[1][first])][:2]
        if log.label[whole].sum():
            recall.append(log.label[last].sum() / log.label[whole].sum())
        kept, came, all_of = kept + log.label[last].sum(), came + log.label[some].sum(), all_of + log.label[whole].sum()
        values.append((log.value[last] * log.examined[: len(last)]).sum())
    assert found["joint_recall"] == pytest.approx(np.mean(recall))
    assert found["survival_channels"] == pytest.approx(came / all_of)
    whole = found["survival_channels"] * found["survival_prerank"] * found["survival_rank"]
    assert whole == pytest.approx(kept / all_of)
    assert found["value"] == pytest.approx(np.mean(values))
    lost = sum(found[f"regret_{name}"] for name in ("channels", "prerank", "rank"))
    assert lost == pytest.approx(found["oracle"] - found["value"])
    assert found["regret_channels"] > 0


def test_quotas_that_leave_all_change_nothing_but_the_names_of_what_is_lost():
    log = with_channels()
    scores = np.random.default_rng(0).normal(size=(2, len(log.item)))
    one = evaluate(log, ("prerank", "rank"), scores, (3, 2)).metrics
    other = evaluate(log, ("prerank", "rank"), scores, (3, 2), offered=np.ones(len(log.item), bool)).metrics
    assert {name: other[name] for name in one} == pytest.approx(one)
    assert (other["survival_channels"], other["regret_channels"]) == (1, 0)


def test_models_see_what_is_offered_alone():
    log = with_channels()
    parts = Parts.of(log, "cpu")
    few = (("popular", 1), ("near", 1))
    part = parts.of_channels(few).test
    assert parts.of_channels(few).test is part, "the same designs share it"
    assert (part.log.channel_rank == 1).any(1).all()
    assert parts.of_channels(()) is parts

    class Scorer:
        def score(self, given):
            assert given is part
            return np.arange(len(given.log.item), dtype=float)

    found = judged(Design(channels=few, widths=(3, 2)), (Scorer(), Scorer()), parts, 0)
    assert found.metrics["survival_channels"] < 1
    assert len(found.user) == len(parts.test.log)


def test_a_world_has_the_channels_that_it_is_given(world):
    assert world.channels == ("popular", "near", "model")
    assert (world.sizes == 60).all()
    ranks = world.channel_rank
    assert (ranks > 0).any(1).all(), "every candidate comes from a channel"
    for request in (0, 40):
        rows = slice(world.bounds[request], world.bounds[request + 1])
        most = ranks[rows].max()
        for channel in range(3):  # all that a channel ranks above the last one given are candidates
            given = np.sort(ranks[rows, channel][ranks[rows, channel] > 0])
            assert (given[: most - 1] == np.arange(1, most)).all()
    best = [world.value[(ranks[:, channel] > 0) & (ranks[:, channel] <= 10)].mean() for channel in range(3)]
    assert best[2] > best[1], "the channel that sees the truth better gives better candidates"
    plain = flow_log(replace(SMALL, channels={}))
    assert plain.channel_rank is None
    np.testing.assert_array_equal(flow_log(SMALL).item, world.item)


def test_a_file_gives_quotas_and_what_asking_a_channel_costs(tmp_path):
    text = TEXT.replace('metric = "ndcg"', "").replace('[[designs]]\nscheme = "single"\n', QUOTAS)
    text = text.replace("[tune]", "[prices.channels]\npopular = 1.0\nnear = 5.0\n[tune]")
    file = written(tmp_path, text)
    with_channels().save(tmp_path / "log")
    made = read(file)
    assert made.names[-1] == "independent, widths 30-20, popular 2"
    asked = replace(made, designs=tuple(replace(each, channels=(("near", 0),)) for each in made.designs))
    from narrows.codesign.execute import execute

    both = [summarise(each, execute(each, tmp_path / "var", train=Trainer())) for each in (made, asked)]
    costs = [found.rows[0].metrics["cpu_seconds_channels"] for found in both]
    assert costs == [6.0, 1.0]
    served = [sum(row.metrics[f"cpu_seconds_{stage}"] for stage in row.stages) for row in (both[0].rows[0],)]
    assert both[0].rows[0].metrics["cpu_seconds"] == pytest.approx(served[0] + 6.0)


@pytest.mark.parametrize(
    ("channels", "says"),
    [
        ("{ popular = 2, fresh = 3 }", "channels: the log has no channel 'fresh': there are popular, near."),
        ("{ popular = -1 }", "channels = popular = -1: a channel gives 0 candidates or more."),
        ("{ popular = 'all' }", "channels"),
        ("7", "channels"),
    ],
)
def test_quotas_that_do_not_fit_the_log_are_refused_before_anything_runs(
    channels, says, tmp_path, capsys, monkeypatch
):  # fmt: skip
    file = written(tmp_path, TEXT.replace('scheme = "single"', f"channels = {channels}"))
    with_channels().save(tmp_path / "log")
    monkeypatch.chdir(tmp_path)
    assert main(["codesign", str(file)]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert not (tmp_path / "var" / "codesign").exists()


def test_the_channels_of_a_run_are_checked_when_its_log_is_made(tmp_path):
    text = TEXT.replace('log = "log"', 'run = "2017-11-30"').replace('scheme = "single"', "channels = { fresh = 1 }")
    made = read(written(tmp_path, text))
    with pytest.raises(ExperimentError, match="the log has no channel 'fresh': there are popular, near"):
        prepare(made, tmp_path / "var", lambda asof: with_channels())


def test_a_price_of_a_channel_that_the_log_has_not_is_refused(tmp_path):
    file = written(tmp_path, TEXT.replace("[tune]", "[prices.channels]\nfresh = 1.0\n[tune]"))
    with_channels().save(tmp_path / "log")
    with pytest.raises(
        ExperimentError, match=r"\[prices\] channels: the log has no channel 'fresh': there are popular, near"
    ):
        read(file)
    assert not read(file, tmp_path / "log").experiment.prices.channels, "of another log those that it has are kept"


def test_the_ready_experiment_takes_the_channels_of_the_log(tmp_path):
    with_channels().save(tmp_path / "log")
    made = read(READY / "quotas.toml", tmp_path / "log")
    assert "popular 0" in made.names
    assert "near 0" in made.names
    assert not made.experiment.prices.channels
    small_log().save(tmp_path / "older")
    with pytest.raises(ExperimentError, match="'each' needs a log that knows its channels"):
        read(READY / "quotas.toml", tmp_path / "older")
    assert len(read(READY / "quotas.toml").designs) == 3 + 3
