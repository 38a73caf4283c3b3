"""Off-policy estimates: exact on small logs, unbiased with intervals that hold the truth of a world."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.offpolicy import WORLD, bandit_log, evaluated, logged, open_bandit
from narrows.cli.main import main
from narrows.codesign.offpolicy import ESTIMATORS, Logged, OffPolicyError, estimate, every
from narrows.codesign.rewards import smoothed_rates
from narrows.world.truth import Truth

OPEN_BANDIT = Path(os.environ.get("NARROWS_OPEN_BANDIT", "no folder"))
"""A folder with events.parquet of the Open Bandit Dataset: `bench.offpolicy` says of which shape."""


def small(**given) -> Logged:
    columns = {
        "round": [1, 1, 2, 2], "position": [1, 2, 1, 2], "reward": [1.0, 0.0, 0.0, 2.0],
        "propensity": [0.5, 0.25, 0.5, 1.0], "evaluated": [0.25, 0.5, 0.5, 0.5],
        "predicted": [0.5, 0.5, 0.5, 1.0], "expected": [0.4, 0.6, 0.4, 0.6],
    } | given  # fmt: skip
    return Logged(**{name: np.array(column) for name, column in columns.items()})


def test_each_estimator_is_its_formula():
    weight, reward = np.array([0.5, 2, 1, 0.5]), np.array([1, 0, 0, 2])
    predicted, expected = np.array([0.5, 0.5, 0.5, 1]), np.array([0.4, 0.6, 0.4, 0.6])
    right = {
        "ips": (weight * reward).sum() / 2,
        "snips": 0.5 / 1.5 + 1.0 / 2.5,
        "clipped": (np.minimum(weight, 0.75) * reward).sum() / 2,
        "doubly_robust": (expected + weight * (reward - predicted)).sum() / 2,
        "switch": (expected + weight * (weight <= 0.75) * (reward - predicted)).sum() / 2,
        "direct": expected.sum() / 2,
    }
    assert set(right) == set(ESTIMATORS)
    for name, value in right.items():
        assert estimate(small(), name, clip=0.75).value == pytest.approx(value)
    assert estimate(small(), "ips").effective_size == pytest.approx(16 / 5.5)


def test_the_own_policy_is_worth_what_was_observed():
    log = small(evaluated=[0.5, 0.25, 0.5, 1.0])
    found = {each.estimator: each for each in every(log)}
    assert found["ips"].value == found["snips"].value == pytest.approx(1.5)
    assert found["ips"].effective_size == found["ips"].rows == 4


def test_the_normal_interval_is_that_of_a_mean_over_rounds():
    random = np.random.default_rng(0)
    reward = random.random(500)
    log = Logged(np.arange(500), np.zeros(500, int), reward, np.full(500, 0.5), np.full(500, 0.5))
    half = 1.96 * reward.std(ddof=1) / 500**0.5
    found = estimate(log, "ips")
    assert found.high - found.value == pytest.approx(half, rel=1e-3)
    drawn = estimate(log, "ips", bootstrap=4000)
    assert drawn.high - drawn.low == pytest.approx(2 * half, rel=0.3)  # Poisson draws also vary the number of rounds
    assert drawn == estimate(log, "ips", bootstrap=4000)


def test_rounds_of_one_user_count_as_one_observation():
    repeated = np.repeat(np.random.default_rng(1).random(100), 9)
    columns = (np.arange(900), np.zeros(900, int), repeated, np.ones(900), np.ones(900))
    alone = estimate(Logged(*columns), "snips")
    together = estimate(Logged(*columns, cluster=np.repeat(np.arange(100), 9)), "snips")
    assert (together.high - together.low) / (alone.high - alone.low) == pytest.approx(3, rel=0.02)


@pytest.mark.parametrize("bootstrap", [0, 300])
def test_intervals_hold_the_truth_of_a_world(bootstrap):
    world = replace(WORLD, users=100, items=80)
    names, held, seeds = ("ips", "snips", "doubly_robust"), dict.fromkeys(ESTIMATORS, 0), 30
    for seed in range(seeds):
        true = Truth.of(replace(world, seed=seed + 1))
        other = evaluated(true, {"policy_noise": 0.0})
        for each in every(logged(true, other, 1500, seed), bootstrap=bootstrap, seed=seed):
            held[each.estimator] += each.covers(other.value)
    assert all(held[name] >= 25 for name in names), held  # of 95%: fewer than 25 of 30 has a chance of 1 in 300
    assert held["direct"] < 15  # the model alone is biased, and its interval does not say so


def test_the_world_s_own_policy_is_estimated_exactly_as_observed():
    true = Truth.of(WORLD)
    own = evaluated(true, {})
    log = logged(true, own, 800, 3)
    assert np.allclose(log.weight, 1)
    found = estimate(log, "ips")
    assert found.value == pytest.approx(log.reward.sum() / 800)
    assert found.covers(own.value)


def test_rates_never_see_their_own_fold():
    action, position = np.array([0, 1, 0, 1]), np.zeros(4, int)
    rates = smoothed_rates(action, position, np.array([1.0, 0, 1, 1]), np.array([0, 0, 1, 1]), 3, strength=1)
    assert rates[0, 0] == pytest.approx([1, 1, 1])
    assert rates[1, 0] == pytest.approx([0.75, 0.25, 0.5])
    with pytest.raises(ValueError, match="2 folds"):
        smoothed_rates(action, position, np.ones(4), np.zeros(4, int), 3)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"propensity": [0.5, 0.0, 1, 1]}, "above 0"),
        ({"propensity": [0.5, 1.5, 1, 1]}, "above 0"),
        ({"evaluated": [0.5, -0.1, 1, 1]}, "from 0 to 1"),
        ({"reward": [1.0, np.nan, 0, 0]}, "no number"),
        ({"reward": [1.0]}, "one a row"),
    ],
)
def test_a_wrong_log_is_refused(given, says):
    with pytest.raises(OffPolicyError, match=says):
        small(**given)


def test_what_cannot_be_said_is_said():
    with pytest.raises(OffPolicyError, match="there is no estimator"):
        estimate(small(), "magic")
    with pytest.raises(OffPolicyError, match="nothing can be said"):
        estimate(small(evaluated=[0.0, 0.5, 0.0, 0.5]), "snips")
    bare = replace(small(), predicted=None, expected=None)
    with pytest.raises(OffPolicyError, match="reward model"):
        estimate(bare, "switch")
    assert [each.estimator for each in every(bare)] == ["ips", "snips", "clipped"]


@pytest.mark.skipif(not OPEN_BANDIT.exists(), reason="NARROWS_OPEN_BANDIT names no folder")
def test_open_bandit_intervals_meet_what_was_observed():
    rows = [row.split(" | ") for row in open_bandit(OPEN_BANDIT)]
    assert len(rows) == 3 * 2 * len(ESTIMATORS)
    unbiased = [row for row in rows if row[2] in ("snips", "doubly_robust")]
    assert all(row[5] == "yes" for row in unbiased)


def test_an_open_bandit_log_of_generated_rows():
    import polars as pl

    random = np.random.default_rng(0)
    rows = 4000
    frame = pl.DataFrame(
        {
            "position": random.integers(1, 4, rows),
            "item_idx": random.integers(0, 10, rows),
            "value": (random.random(rows) < 0.1).astype(float),
            "propensity_score": np.full(rows, 0.1),
        }
    )
    shares = np.full((3, 10), 0.1)
    for each in every(bandit_log(frame, shares, uniform=False)):
        assert each.value == pytest.approx(0.1, abs=0.02)


def test_the_command_reads_a_file(tmp_path, capsys):
    import polars as pl

    random = np.random.default_rng(0)
    frame = pl.DataFrame({"reward": random.random(50), "propensity": [0.5] * 50, "evaluated": [0.25, 0.75] * 25})
    frame.write_csv(tmp_path / "log.csv")
    frame.with_columns(round=pl.Series(["a", "b"] * 25), position=pl.Series([1, 2] * 25)).write_parquet(
        tmp_path / "log.parquet"
    )
    assert main(["codesign", "offpolicy", str(tmp_path / "log.csv"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["estimator"] for each in found] == ["ips", "snips", "clipped"]
    assert found[0]["value"] == pytest.approx((frame["reward"] * frame["evaluated"] / 0.5).sum() / 50)
    assert main(["codesign", "offpolicy", str(tmp_path / "log.parquet"), "--bootstrap", "50"]) == 0
    assert "2 rounds, 50 rows" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("columns", "says"), [({"reward": [1.0]}, "has no column propensity, evaluated"), (None, "cannot be read")]
)
def test_the_command_refuses_in_one_line(columns, says, tmp_path, capsys):
    import polars as pl

    if columns:
        pl.DataFrame(columns).write_parquet(tmp_path / "log.parquet")
    assert main(["codesign", "offpolicy", str(tmp_path / "log.parquet")]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
