"""Do no harm: a model that orders no better than a simple order stands back for it, and the report says so."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from features import simple
from features.lookup import Pairs
from features.pair import FEATURES
from narrows.cli.report.published import stood_back
from narrows.cli.report.screen import verdicts
from narrows.metrics import hit_rate
from narrows.stage import Shard
from stages.prerank import Prerank, learn, trees
from stages.rank import Rank
from stages.rank import model as rank_model
from stages.rank.fit import fit as rank_fit
from tests.rank.small import DAYS, examples, small_shard
from tests.recall.tiny import WEEK

ROOM = Prerank(min_rows=5, positives_per_tree=1, pointwise_trees=12, lambdarank_trees=10, first_trees=5, n=10)


@pytest.fixture(scope="module")
def spoiled() -> pa.Table:
    """Examples whose prerank score is noise."""
    return examples(small_shard())


@pytest.fixture(scope="module")
def other() -> pa.Table:
    """The same with labels that no simple order knows."""
    rows = examples(small_shard())
    label = (np.random.default_rng(3).random(rows.num_rows) < 0.1).astype(np.int32)
    return rows.set_column(rows.column_names.index("label"), "label", pa.array(label))


def bare() -> Shard:
    """The shard whose candidates prerank has not seen."""
    asked = small_shard()
    return replace(asked, candidates=asked.candidates.select(["user_id", "item_id"]))


def with_score(rows: pa.Table, score: np.ndarray) -> pa.Table:
    place = rows.column_names.index("prerank_score")
    return rows.set_column(place, "prerank_score", pa.array(score, pa.float32()))


def test_simple_orders_are_what_their_names_say():
    asked = small_shard()
    pairs = Pairs(asked.users, asked.items, asked.candidates)
    popular = simple.order("popular_1x", lambda name: FEATURES[name](pairs))
    assert (np.argsort(-popular, kind="stable")[:1] == np.argmax(FEATURES["item_users_1x"](pairs))).all()
    own = simple.order("own_then_popular_1x", lambda name: FEATURES[name](pairs))
    had = np.isfinite(FEATURES["history_count"](pairs))
    assert own[had].min() > own[~had].max()
    with pytest.raises(ValueError, match="'fame' is no simple order"):
        simple.order("fame", lambda name: np.zeros(1))


def test_trees_whose_scores_were_noise_stand_back_and_the_room_orders_by_the_simple_order(spoiled, tmp_path):
    model = learn.fit(ROOM, spoiled)
    assert model.simple.startswith("own_then_popular")  # the label is what was had on five visits
    assert model.worth[model.simple] > model.worth["trees"]
    assert model.notes["judged_by"] == model.judged_by == "hit_rate"
    model.save(tmp_path)
    again = trees.PrerankModel.load(tmp_path)
    assert (again.simple, again.judged_by) == (model.simple, model.judged_by)
    kept = ROOM.narrow(model, bare()).kept
    first = kept.filter(pa.compute.equal(kept["prerank_rank"], 1))
    asked = small_shard()
    pairs = Pairs(asked.users, asked.items, asked.candidates)
    score = simple.order(model.simple, lambda name: FEATURES[name](pairs))
    best = [score[pairs.user == u].max() for u in range(asked.users.num_rows)]
    np.testing.assert_allclose(first["prerank_score"].to_numpy(), best, rtol=1e-6)


def test_trees_whose_scores_were_right_stay(other):
    right = with_score(other, other["label"].to_numpy() + 0.0)
    assert learn.against_simple(ROOM, right)[0] == ""


def test_the_share_of_positives_that_are_kept_decides_where_it_can_tell_and_else_their_order(other):
    label = other["label"].to_numpy()
    right = with_score(other, label + 0.0)
    order, worth, metric = learn.against_simple(ROOM, right)
    assert (order, metric) == ("", "hit_rate")
    assert worth["trees"] > 0.9
    all_kept = replace(ROOM, n=1000)
    assert learn.against_simple(all_kept, right)[::2] == ("", "ndcg")
    wrong = with_score(other, -label + 0.0)
    order, worth, metric = learn.against_simple(ROOM, wrong)
    assert order
    assert metric == "hit_rate"
    assert worth["trees"] < worth[order]
    assert learn.against_simple(all_kept, wrong)[2] == "ndcg"


def test_what_is_kept_is_counted_in_places_of_the_whole_list():
    """A row of weight 3 takes three places."""
    score, group = np.array([5.0, 4, 3, 2, 9, 8]), np.array([0, 0, 0, 0, 1, 1])
    label, weight = np.array([0, 1, 0, 1, 0, 0]), np.array([1.0, 1, 3, 1, 1, 1])
    np.testing.assert_allclose(hit_rate(score, label, weight, group, 5), [0.5])
    np.testing.assert_allclose(hit_rate(score, label, weight, group, 6), [1.0])
    np.testing.assert_allclose(hit_rate(score, 0 * label, weight, group, 6), [0.0])


def test_a_setting_keeps_the_trees_and_without_scores_nothing_is_decided(spoiled):
    assert learn.against_simple(replace(ROOM, stand_back=False), spoiled) == ("", {}, "")
    assert learn.against_simple(ROOM, examples(small_shard(), scored=False)) == ("", {}, "")


def test_all_windows_with_scores_decide_together(other):
    label, asof = other["label"].to_numpy(), np.array(other["asof"].to_pylist())
    for day in DAYS:  # right in one window, upside down in the other: on the whole as good as many a simple order
        mixed = with_score(other, np.where(asof == str(day), label, -label) + 0.0)
        assert 0.4 < learn.against_simple(ROOM, mixed)[1]["trees"] < 0.6


def test_a_simple_order_is_chosen_on_another_window_than_the_one_that_judges_it():
    """Each order is perfect in one window and worth nothing in the other, so none was known to be good beforehand."""

    def window(good: str) -> simple.Judged:
        columns = {f"item_users_{step}": np.full(1, float(step == good)) for step in simple.NAMES} | {
            "history_decayed_16x": np.zeros(1),
            "item_expected": np.zeros(1),
            "score": np.full(1, 0.5),
        }
        return simple.Judged(columns.__getitem__, lambda order: np.minimum(order, 1.0))

    found = simple.held([window("64th"), window("16x")], "score")
    assert (found.own, found.order) == (0.5, "popular_64th")
    assert found.simple < 0.01
    assert simple.held([window("64th")], "score").simple == 1.0


def test_rank_orders_by_the_simple_order_where_prerank_was_spoiled_and_stays_calibrated(spoiled, tmp_path):
    asked = small_shard()
    room = Rank(epochs=1, batch=8, hidden=16, min_count=2, n=10, learning_rate=0.0)  # networks that learn nothing
    model = rank_fit(room, spoiled, dict.fromkeys(DAYS, asked.users), asked.items, WEEK)
    assert model.stack.simple.startswith("own_then_popular")
    assert model.notes["instead_of"] == "prerank"
    model.save(tmp_path)
    assert rank_model.load(room, tmp_path).stack == model.stack
    kept = room.narrow(model, asked).kept
    score = kept["rank_score"].to_numpy()
    assert ((score > 0) & (score < 1)).all()
    top = kept.filter(pa.compute.equal(kept["rank_rank"], 1))
    had = {
        u: set(items)
        for u, items in zip(*(asked.users[c].to_pylist() for c in ("user_id", "history_item")), strict=True)
    }
    assert all(row["item_id"] in had[row["user_id"]] for row in top.to_pylist())


def test_the_report_says_which_order_stands_in_and_what_both_were_worth():
    notes = {
        "prerank": {"order": "popular_16th", "instead_of": "trees", "worth_trees": 0.07, "worth_popular_16th": 0.0712},
        "rank": {"order": "prerank", "worth_prerank": 0.2, "worth_popular_1x": 0.1},
    }
    found = stood_back(notes)
    assert [each["room"] for each in found] == ["prerank"]
    assert found[0]["judged_by"] == "ndcg"
    line = verdicts({"steps": [], "narrowing": ["recall", "prerank", "rank", "rerank"], "stood_back": found})[0]
    assert line == (
        "!! prerank orders by popular_16th: trees was not better on the latest horizons (ndcg 0.0700 against 0.0712)"
    )
