"""The room itself, over published partitions of the small run."""

from datetime import timedelta

import pyarrow as pa
import pytest
from small_run import ASOF, PUBLISHED, ROOMS, TRUTH, handles, pairs, room

from stages.evaluation import Evaluation
from stages.evaluation.run import SCHEMA

WEEK = {"asof": ASOF, "horizon": timedelta(days=7)}
GRAIN = ("population", "kind", "list", "metric", "k", "detail")


@pytest.fixture(name="judged")
def _judged(tmp_path):
    return Evaluation(cutoffs=(1, 2), resamples=200).transform(**handles(tmp_path), **WEEK)


def values(made):
    return {tuple(row[name] for name in GRAIN): row for row in made.data.to_pylist()}


def test_the_grain_is_unique_and_the_schema_fixed(judged):
    assert len(values(judged)) == judged.data.num_rows
    assert judged.data.schema == SCHEMA
    assert judged.data["kind"].null_count == 0


def test_quality_by_hand(judged):
    found = values(judged)
    headline = found["all", "published", "published", "recall", 2, ""]
    assert headline["value"] == pytest.approx((1 / 2 + 0 + 0) / 3)
    assert headline["users"] == 3
    assert headline["low"] <= headline["value"] <= headline["high"]
    assert found["all", "stage", "rank", "recall", 2, ""]["value"] == pytest.approx((2 / 2) / 3)
    assert found["all", "policy", "diversity", "recall", 2, ""]["value"] == pytest.approx((2 / 2) / 3)
    assert found["all", "published", "published", "users_without_list", 0, ""]["value"] == 1  # user c
    assert found["served", "published", "published", "coverage", 2, ""]["value"] == pytest.approx(3 / 7)
    assert judged.notes["recall_2"] == headline["value"]
    assert ("all", "channel", "own", "recall", 2, "") in found
    assert {("all", "baseline", name, "ndcg", 1, "") for name in ("popular", "popular_new", "own_then_popular")} <= set(
        found
    )


def test_the_headline_comes_from_the_published_rows_alone(judged, tmp_path):
    other = values(Evaluation(cutoffs=(1, 2)).transform(**handles(tmp_path / "b", pairs("a5 a4 b1 c1")), **WEEK))
    assert other["all", "published", "published", "recall", 2, ""]["value"] == pytest.approx(1)
    for key, row in values(judged).items():  # nothing else moved
        if key[1] in ("stage", "channel", "baseline"):
            assert other[key]["value"] == row["value"]


def test_differences_are_paired(judged):
    found = values(judged)
    step = found["all", "difference", "rerank", "recall", 2, "stage rank"]
    assert step["value"] == pytest.approx((1 / 2 - 1) / 3)
    assert found["all", "difference", "published", "recall", 2, "stage rerank"]["value"] == 0
    assert found["all", "difference", "diversity", "ndcg", 2, "stage rank"]["value"] == 0


def test_only_events_of_the_horizon_are_positives(judged):
    outcomes = judged.side_tables["outcomes"]
    assert outcomes.num_rows == TRUTH.num_rows
    assert "7" not in outcomes["item_id"].to_pylist()


def test_flow_and_ledger(judged):
    found = values(judged)
    assert found["all", "flow", "channels", "survival", 0, ""]["value"] == pytest.approx(4 / 8)
    assert found["repeat", "flow", "published", "joint_survival", 0, ""]["value"] == pytest.approx(1 / 2)
    assert found["segment old", "flow", "recall", "positives_received", 0, ""]["value"] == 4
    assert found["all", "ledger", "rerank", "count", 0, "policy:cap"]["value"] == 1
    assert found["candidates", "flow", "recall", "received", 0, ""]["value"] == 6
    assert found["candidates", "flow", "recall", "kept", 0, ""]["value"] == 5
    assert found["candidates", "flow", "prerank", "overlap", 2, "all"]["value"] == 1
    assert sum(judged.side_tables["ledger"]["count"].to_pylist()) == TRUTH.num_rows


def test_a_pinned_row_was_not_received_and_counts_as_shown(tmp_path, monkeypatch):
    pinned = room("a5").append_column("rank", pa.array([3], pa.int32()))
    rerank = pa.concat_tables([ROOMS["rerank"], pinned], promote_options="default")
    monkeypatch.setitem(ROOMS, "rerank", rerank)
    judged = Evaluation(cutoffs=(1, 3), resamples=50).transform(**handles(tmp_path, pairs("a1 a6 a5 b2")), **WEEK)
    found = values(judged)
    assert found["candidates", "flow", "rerank", "received", 0, ""]["value"] == 4
    assert found["candidates", "flow", "rerank", "kept", 0, ""]["value"] == 4
    assert found["all", "flow", "rerank", "positives_passed", 0, ""]["value"] == 1  # a1 alone passed the gates
    assert found["all", "ledger", "shown", "count", 0, "shown"]["value"] == 2
    assert found["all", "published", "published", "recall", 3, ""]["value"] == pytest.approx((2 / 3) / 3)


def test_calibration_counts_every_candidate_that_reached_rank(judged):
    rows = [row for key, row in values(judged).items() if key[3] == "rows"]
    assert sum(row["value"] for row in rows) == 4
    assert 0 <= judged.notes["calibration_error"] <= 1


def test_nothing_to_judge_is_no_error(tmp_path):
    made = Evaluation(resamples=50).transform(**handles(tmp_path, PUBLISHED, TRUTH.slice(0, 0)), **WEEK)
    assert made.side_tables["outcomes"].num_rows == 0
    assert values(made)["all", "published", "published", "recall", 20, ""]["value"] is None
    assert isinstance(made.data, pa.Table)
