"""Evaluation where only a sample of users has its flow: quality over all users, the flow weighted up."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from narrows.columns import REQUEST_WEIGHT
from narrows.stage import Recent
from narrows.store.table import REQUESTS
from stages.evaluation import cascade, quality, read
from stages.evaluation.assess import assess
from stages.evaluation.ledger import ledger, survival
from stages.evaluation.run import MetricRows, Run
from tests import world
from tests.fixtures import Line

WEEK = {f"h{household}" for household in range(world.HOUSEHOLDS)}


def truth() -> pa.Table:
    rows = pl.DataFrame(pl.from_arrow(world.events())).filter(
        (pl.col("at") >= world.ASOF.end) & (pl.col("at") < world.ASOF.end + world.WEEK)
    )
    return rows.select(user_id="household", item_id="product").to_arrow()


def judged(line: Line) -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(line.table("evaluation").arrow()))


def test_published_lists_and_baselines_are_judged_over_all_users(sampled_line):
    """As by one run over all profiles and all published rows, value for value."""
    published = sampled_line.table("recommendations").arrow(["user_id", "item_id", "rank"])
    users, items = sampled_line.table("user_profiles").arrow(), sampled_line.table("item_profiles").arrow()
    out = MetricRows()
    quality.judge([Run(truth(), users, items, {}, published, resamples=100)], out)
    key = ["population", "kind", "list", "metric", "k", "detail"]
    expected = pl.DataFrame(pl.from_arrow(out.table())).sort(key)
    found = judged(sampled_line).filter(
        pl.col("kind").is_in(["published", "baseline"])
        | ((pl.col("kind") == "difference") & pl.col("detail").str.starts_with("baseline"))
    )
    found = found.sort(key)
    same = ~((expected["kind"] == "baseline") & (expected["metric"] == "coverage"))  # of judged users alone
    assert found.filter(same).drop("low", "high").equals(expected.filter(same).drop("low", "high"))
    assert np.allclose(found.filter(same)["low"].drop_nulls(), expected.filter(same)["low"].drop_nulls(), atol=0.05)


@pytest.mark.parametrize("users", [1, 7])
def test_how_many_users_are_judged_at_once_changes_no_number(sampled_line, monkeypatch, users):
    monkeypatch.setattr("stages.evaluation.read.USERS", users)
    runner, asof = sampled_line.runner, sampled_line.asof
    end = asof + runner.horizon
    flow = {name: sampled_line.table(name) for name in ("recall", "prerank", "rank", "rerank")}
    profiles = Recent({each: runner.store.current("item_profiles", each) for each in (asof, asof - runner.horizon)})
    given = sampled_line.table("recommendations"), flow, sampled_line.table("user_profiles"), profiles
    run = read.run(runner.room("evaluation"), *given, runner.store.current("events", end).truth(asof), end)
    assert len(list(run.judged())) > 1
    key = ["population", "kind", "list", "metric", "k", "detail"]
    found = pl.DataFrame(pl.from_arrow(assess(run, 15).data)).sort(key)
    expected = judged(sampled_line).sort(key)
    assert found.select(key, "users").equals(expected.select(key, "users"))
    assert found["value"].to_numpy() == pytest.approx(expected["value"].to_numpy(), rel=1e-9, nan_ok=True)
    close = np.isclose(found["low"].drop_nulls(), expected["low"].drop_nulls(), atol=0.06)  # other users are drawn
    assert close.all()


def test_stages_are_judged_on_the_sample_and_the_ledger_counts_for_everybody(sampled_line):
    rows, sample = judged(sampled_line), sampled_line.table("recall").side(REQUESTS).arrow()
    stage = rows.filter((pl.col("kind") == "stage") & (pl.col("metric") == "recall"))
    assert stage["users"].max() <= sample.num_rows < len(WEEK)
    assert stage["value"].is_between(0, 1).all()
    positives = truth().num_rows
    counted = rows.filter(
        (pl.col("kind") == "ledger") & (pl.col("metric") == "count") & (pl.col("population") == "all")
    )
    assert 0.6 * positives < counted["value"].sum() < 1.5 * positives
    ece = rows.filter(pl.col("metric") == "ece")
    assert ece["value"].is_between(0, 1).all()


def test_a_positive_counts_for_as_many_as_its_user_stands_for():
    rows = {
        "user_id": ["a", "b"], "item_id": ["x", "x"], "passed": pa.array([3, 1], pa.int8()), "stage_reached": ["shown", "recall"],
        "reason": ["shown", "quota"], REQUEST_WEIGHT: [1.0, 3.0],
    }  # fmt: skip
    positives = pa.table(rows)
    assert ledger(positives, ["recall"])["share"].to_pylist() == [0.75, 0.25]
    assert survival(positives, ["recall"])["survival"].to_pylist() == [1.0, 0.25, 1.0]
    plain = positives.drop_columns([REQUEST_WEIGHT])
    assert survival(plain, ["recall"])["survival"].to_pylist() == [1.0, 0.5, 1.0]


def test_a_sample_weighs_its_users_and_others_count_once():
    sample = pa.table({"user_id": ["a", "b"], REQUEST_WEIGHT: pa.array([2.0, 5.0], pa.float32())})
    run = Run(truth().slice(0, 1), sample, sample, {}, sample, sample=sample)
    assert run.weight(pa.array(["b", "a", "stranger"])).tolist() == [5.0, 2.0, 1.0]
    assert cascade.CALIBRATED == "rank"
