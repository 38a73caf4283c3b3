"""What an experiment says: intervals over users and seeds, the front, the verdict, the report, MLflow, the folder."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from narrows.cli.codesign.run import facts, text
from narrows.cli.codesign.views import experiment_tags
from narrows.codesign import report, tracked
from narrows.codesign.execute import execute
from narrows.codesign.experiment import read
from narrows.codesign.matching import matched
from narrows.codesign.seeds import Interval, Judged, drawn, interval, means
from narrows.codesign.source import prepare
from narrows.codesign.summary import Row, Step, front, steps, summarise, within
from narrows.codesign.tables import save
from narrows.codesign.verdict import next_unit, verdict
from tests.browser import browser
from tests.codesign.experiments import TEXT, Trainer, planned, summary, written
from tests.codesign.small_log import with_channels
from tests.pages import check


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return summary(tmp_path_factory.mktemp("experiment"))


def test_intervals_hold_the_truth_over_users_and_seeds():
    random = np.random.default_rng(0)
    held = 0
    for _ in range(200):
        users = np.repeat(np.arange(60), 5)
        of_user, of_seed = np.repeat(random.normal(0, 1, 60), 5), random.normal(0, 0.3, 8)
        values = [0.5 + of_user + shift + random.normal(0, 0.5, 300) for shift in of_seed]
        judged = Judged.of(values, users)
        found = interval(means([judged])[0], drawn([judged], 400)[0])
        held += found.low <= 0.5 <= found.high
    assert 176 <= held <= 199  # of 200; percentile intervals of 8 seeds are a little narrow


def test_a_lucky_seed_alone_does_not_win():
    users, random = np.arange(500), np.random.default_rng(0)
    base = [random.normal(0.5, 0.1, 500) for _ in range(5)]
    lucky = [values + (0.3 if seed == 2 else 0.0) for seed, values in enumerate(base)]
    both = [Judged.of(base, users), Judged.of(lucky, users)]
    draws = drawn(both)
    assert not interval(0.06, draws[1] - draws[0]).low > 0
    better = Judged.of([values + 0.06 for values in base], users)
    draws = drawn([both[0], better])
    assert interval(0.06, draws[1] - draws[0]).clear


def test_requests_that_are_not_judged_do_not_count():
    judged = Judged.of([np.array([1.0, np.nan, 0.0])], np.array([4, 4, 9]))
    assert means([judged])[0] == pytest.approx(0.5)
    assert judged.count.tolist() == [[1], [1]]


def row(name, quality, money):
    return Row(name, None, Interval(quality, quality - 0.1, quality + 0.1), (quality,), {}, money, 0.0, {})


def test_the_front_holds_what_no_cheaper_design_matches():
    rows = [row("a", 0.5, 3.0), row("b", 0.4, 1.0), row("c", 0.4, 2.0), row("d", 0.7, 5.0), row("e", 0.6, 6.0)]
    assert front(rows) == (1, 0, 3)


def test_joint_wins_and_the_verdict_says_so(found):
    best = max(found.rows, key=lambda row: row.quality.value)
    assert best.design.scheme == "joint"
    said = verdict(found)
    assert said[0].startswith("For a budget of 1e+09 EUR a billion requests: run “joint, widths 6-3”, ndcg 0.7")
    one, other = (
        next(at for at, row in enumerate(found.rows) if row.name == name)
        for name in ("joint, widths 6-3", "independent, widths 6-3")
    )
    pair = found.pairs[one, other]
    assert pair.difference.value == pytest.approx(0.2, abs=0.03)
    assert pair.difference.clear
    assert pair.ratio.low > 1
    assert found.pairs[other, one].difference.value == -pair.difference.value
    assert "With 3 seeds the intervals are too narrow: give 5 or more before you decide." in said


def test_what_more_compute_buys_is_said_of_the_stage_that_gets_it(found):
    step = next(step for step in found.steps if found.rows[step.cheap].name == "joint, widths 4-3")
    assert (step.setting, step.stage) == ("widths", "rank")
    assert step.gain.value == pytest.approx(0.02, abs=0.01)
    assert step.flops > 0
    said = next_unit(found)
    assert said[0].startswith("What more compute in prerank buys, this experiment cannot say")
    assert "(“" in said[1]
    assert said[1].startswith("More compute in rank (“")
    assert "buys: +0.0" in said[1]
    channels = replace(found, steps=tuple(replace(each, setting="channels") for each in found.steps))
    assert next_unit(channels)[1].startswith("More candidates for rank (“"), (
        "what a channel gives is no work of the stage"
    )


def test_a_step_must_be_one_stage_s(found):
    rows = list(found.rows)
    costly = replace(
        rows[0],
        metrics=rows[0].metrics
        | {"flops_prerank": rows[0].metrics["flops_prerank"] * 50, "flops": rows[0].metrics["flops"] * 10},
    )
    made = steps([costly, *rows[1:]], found.pairs)
    assert all(isinstance(step, Step) for step in made)
    assert {step.stage for step in made if 0 in (step.cheap, step.dear)} <= {"prerank"}


def test_budgets_keep_what_costs_no_more(tmp_path):
    text = TEXT.replace("money = 1e9", "flops = 1\ncpu_seconds = 1e6")
    made = summary(tmp_path, text)
    kept = dict(within(made))
    assert kept["1 operations a request"] == []
    assert kept["1e+06 CPU seconds a thousand requests"] == [0, 1, 2, 3, 4]
    assert verdict(made)[0].startswith("No design keeps the budget of 1 operations a request; the cheapest is")
    free = summary(tmp_path, TEXT.replace("[budget]\nmoney = 1e9", ""))
    assert verdict(free)[0].startswith("Run “joint, widths 6-3”")


def test_the_page_says_all_and_can_be_read_aloud(found):
    page = report.html(found)
    tree = check(page)
    headings = [tree.texts[at] for at, _ in tree.all("h2")]
    assert headings == [
        "Verdict", "Quality against cost", "What each stage loses", "Who loses what to whom", "What the next unit of compute buys",
        "What it costs", "Designs", "The experiment's file",
    ]  # fmt: skip
    assert len(tree.all("svg")) == 3
    assert "Which is better?" in page
    assert all(row.name in page for row in found.rows)
    assert "▲" in page
    assert "▼" in page
    for at, _ in tree.all("li"):
        assert tree.texts[at].endswith(".")


def test_three_stages_channels_and_equal_cost_have_their_place_on_the_page(tmp_path):
    text = TEXT.replace("[[6, 3], [4, 3]]", "[[6, 4, 3], [4, 3]]").replace(
        'scheme = "single"', 'scheme = "single"\ncost = "equal"\n[[designs]]\nchannels = { popular = 2 }'
    )
    file = written(tmp_path, text.replace("[tune]", "[prices.channels]\npopular = 0.5\n[tune]"))
    with_channels().save(tmp_path / "log")
    made = read(file)
    made = matched(made, prepare(made, tmp_path / "var"))
    found = summarise(made, execute(made, tmp_path / "var", train=Trainer()))
    assert found.rows[0].stages == ("retrieval", "prerank", "rank")
    page = report.html(found)
    tree = check(page)
    shown = " ".join(tree.texts.values())
    for words in (
        "by the first of three", "by the channels' quotas", "channels keep 80.0% of what comes", "retrieval keeps 80.0%", "was made as dear as",
        "popular 0.5.",
    ):  # fmt: skip
        assert words in shown, words
    assert pl.read_parquet(save(found, tmp_path / "var") / "designs.parquet")["set_channels"].n_unique() == 2


def test_names_cannot_break_out_of_the_page(tmp_path):
    page = report.html(summary(tmp_path, TEXT.replace("Which is better?", "<script>alert(1)</script>")))
    check(page)
    assert "<script>" not in page


def test_without_a_truth_there_is_no_value_and_one_design_is_a_page(tmp_path):
    made = planned(tmp_path, TEXT.partition("[grid]")[0] + "[grid]\nscheme = ['joint']\n[tune]\ntrials = 0\n")
    results = execute(made, tmp_path / "var", train=Trainer())
    for each in results[0]:
        each.metrics.pop("value")
    alone = summarise(made, results)
    tree = check(report.html(alone))
    assert len(tree.all("svg")) == 2
    assert verdict(alone)[0].startswith("Run “joint”, ndcg")


def test_a_browser_shows_the_page_at_any_width(found, tmp_path):
    file = report.write(found, tmp_path)
    with browser(tmp_path / "profile") as tab:
        for width, scheme in ((1600, "light"), (800, "dark"), (400, "light")):
            tab.open(file.as_uri(), width, scheme)
            assert tab.overflow() == 0
            assert not tab.problems()
            assert len(tab.names("image")) == 3
        assert tab.requests() == [file.as_uri()]


def test_mlflow_has_a_run_a_design_with_flat_metrics_and_the_report(found, tmp_path):
    from narrows.tracking.runs import tracking

    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    file = report.write(found, tmp_path)
    for _ in range(2):  # logged again it is the same
        experiment = tracked.log(found, file, uri, tmp_path / "mlartifacts")
    runs = {run.info.run_name: run for run in tracking(uri).search_runs([experiment])}
    assert set(runs) == {row.name for row in found.rows} | {"report"}
    data = runs["joint, widths 6-3"].data
    assert data.params["scheme"] == "joint"
    assert data.params["widths"] == "[6, 3]"
    assert data.metrics["ndcg"] == pytest.approx(found.rows[2].quality.value)
    assert {
        "ndcg_low",
        "flops_rank",
        "cpu_seconds",
        "survival_prerank",
        "money_a_billion_requests",
        "train_cpu_seconds",
    } <= set(data.metrics)
    assert all(run.info.status == "FINISHED" for run in runs.values())
    kept = {each.path for each in tracking(uri).list_artifacts(runs["report"].info.run_id)}
    assert kept == {"small.html", "small.toml"}


def test_mlflow_has_a_view_that_compares_the_designs(found):
    tags = experiment_tags(found)
    assert tags["mlflow.experiment.primaryMetric.name"] == "ndcg"
    assert tags["mlflow.note.content"].startswith("Which is better? One run is one design")
    state = json.loads(json.loads(tags["mlflow.sharedViewState.narrows"])["state"])
    assert [chart["type"] for chart in state["compareRunCharts"]] == ["PARALLEL", "SCATTER", "SCATTER"]
    assert state["compareRunCharts"][0]["selectedParams"] == ["scheme", "widths"]
    named = {name for row in found.rows for name in tracked.metrics_of(found, row)}
    assert {column.split("`")[1] for column in state["selectedColumns"] if column.startswith("metrics")} <= named


def test_the_folder_and_the_json_have_the_same_numbers(found, tmp_path):
    folder = save(found, tmp_path)
    designs, pairs = pl.read_parquet(folder / "designs.parquet"), pl.read_parquet(folder / "pairs.parquet")
    assert designs["name"].to_list() == [row.name for row in found.rows]
    assert designs["ndcg"].to_list() == [row.quality.value for row in found.rows]
    assert len(pairs) == 20
    about = json.loads((folder / "experiment.json").read_text())
    assert about["verdict"] == verdict(found)
    said = json.loads(json.dumps(facts(found, folder)))
    assert said["designs"][2]["quality"]["value"] == found.rows[2].quality.value
    shown = text(found, folder)
    assert shown.splitlines()[1].startswith("joint, widths 6-3")
    assert all(len(line) <= 110 for line in shown.splitlines()[:6])
