"""Places, the best of each user, and NDCG, against plain loops."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from narrows.candidates import best_first, keep_best, place_in_run, positions, top
from narrows.metrics import expected_calibration_error, ndcg

ROWS = st.lists(st.tuples(st.integers(0, 4), st.integers(-3, 3)), max_size=40)


@settings(max_examples=100, deadline=None)
@given(ROWS)
def test_places_are_those_of_a_stable_sort_within_the_user(rows):
    user, rank = (np.array([row[k] for row in rows], int) for k in (0, 1))
    place = positions(user, rank)
    for one in set(user):
        mine = np.flatnonzero(user == one)
        assert place[sorted(mine, key=lambda row: (rank[row], row))].tolist() == [*range(1, len(mine) + 1)]
    assert (top(user, rank, 2) == (place <= 2)).all()


def test_the_place_in_a_run_counts_from_one():
    assert place_in_run(np.array([7, 7, 2, 7, 7, 7])).tolist() == [1, 2, 1, 1, 2, 3]
    assert not len(place_in_run(np.zeros(0, int)))


@settings(max_examples=60, deadline=None)
@given(ROWS, st.integers(1, 4))
def test_the_best_are_kept_in_order_and_the_others_get_a_reason(rows, n):
    rows = sorted(rows, key=lambda row: row[0])  # candidates come grouped by user
    user, score = (np.array([row[k] for row in rows], int) for k in (0, 1))
    candidates = pa.table({"user_id": pa.array(user), "row": pa.array(np.arange(len(rows)))})
    narrowed = keep_best("stage", candidates, user, score.astype(float), score.astype(np.float32), n)
    for one in set(user):
        best = sorted(np.flatnonzero(user == one), key=lambda row: (-score[row], row))
        parts = [part.filter(pa.array(part["user_id"].to_numpy() == one)) for part in (narrowed.kept, narrowed.removed)]
        assert [part["row"].to_pylist() for part in parts] == [best[:n], best[n:]]
        assert parts[0]["stage_rank"].to_pylist() == [*range(1, len(best[:n]) + 1)]
        assert parts[0]["stage_score"].to_pylist() == [score[row] for row in best[:n]]
    assert narrowed.removed["reason"].to_pylist() == ["stage_cut"] * narrowed.removed.num_rows
    assert (narrowed.kept["stage_rank"].type, narrowed.kept["stage_score"].type) == (pa.int32(), pa.float32())


def test_where_nobody_reads_the_removed_rows_they_are_their_reasons_alone():
    rows = pa.table({"user_id": ["u", "u", "v"], "item_id": ["a", "b", "c"]})
    user, score = np.array([0, 0, 1]), np.array([1.0, 2, 3], np.float32)
    logged, counted = (keep_best("stage", rows, user, score, score, 1, logged) for logged in (True, False))
    assert counted.kept.equals(logged.kept)
    assert counted.removed.equals(logged.removed.select(["reason"]))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from([-np.inf, -1.5, -0.0, 0.0, 2.5, np.inf, np.nan]))))
def test_the_best_come_first_ties_as_they_stood_and_what_has_no_score_as_the_worst(rows):
    user, score = np.array([row[0] for row in rows], int), np.array([row[1] for row in rows], float)
    worst = np.nan_to_num(score, nan=-np.inf, posinf=np.inf, neginf=-np.inf)
    assert best_first(user, score).tolist() == sorted(range(len(rows)), key=lambda k: (user[k], -worst[k], k))


def test_a_row_of_weight_w_takes_w_places():
    score, label, group = np.array([3.0, 2, 1, 9]), np.array([0, 1, 0, 0]), np.array([5, 5, 5, 6])
    weight = np.array([3.0, 1, 1, 1])
    assert ndcg(score, label, weight, group) == pytest.approx([1 / math.log2(1 + 4)])  # list 6 has no positive
    assert ndcg(score, label, weight, group, n=3) == [0]
    assert ndcg(score, label * 0, weight, group) == [0]


def test_a_weighted_sample_is_as_well_calibrated_as_all_rows():
    rng = np.random.default_rng(0)
    score = rng.random(100_000)
    label = rng.random(len(score)) < score**2  # predicts too much
    all_rows = expected_calibration_error(score, label)
    drawn = label | (rng.random(len(score)) < 0.3)
    weight = np.where(label, 1, 1 / 0.3)[drawn]
    for keep_ties in (True, False):
        sample = expected_calibration_error(score[drawn], label[drawn], weight=weight, keep_ties=keep_ties)
        assert sample == pytest.approx(all_rows, rel=0.05)
