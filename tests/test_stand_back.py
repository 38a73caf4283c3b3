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
from narrows.run.narrowing import received
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
    stood = model.stood
    assert stood.simple.startswith("own_then_popular")  # the label is what was had on five visits
    assert stood.worth[stood.simple] > stood.worth["trees"]
    assert model.notes["judged_by"] == stood.judged_by == "hit_rate"
    assert model.notes["kept_by"] == stood.simple
    model.save(tmp_path)
    again = trees.PrerankModel.load(tmp_path)
    assert again.stood == stood
    kept = ROOM.narrow(model, bare()).kept
    first = kept.filter(pa.compute.equal(kept["prerank_rank"], 1))
    asked = small_shard()
    pairs = Pairs(asked.users, asked.items, asked.candidates)
    score = simple.order(stood.simple, lambda name: FEATURES[name](pairs))
    best = [score[pairs.user == u].max() for u in range(asked.users.num_rows)]
    np.testing.assert_allclose(first["prerank_score"].to_numpy(), best, rtol=1e-6)


def test_trees_whose_scores_were_right_stay(other):
    right = with_score(other, other["label"].to_numpy() + 0.0)
    assert learn.against_simple(ROOM, right).simple == ""


def test_the_share_of_positives_that_are_kept_decides_where_it_can_tell_and_else_their_order(other):
    label = other["label"].to_numpy()
    right = with_score(other, label + 0.0)
    found = learn.against_simple(ROOM, right)
    assert (found.simple, found.judged_by) == ("", "hit_rate")
    assert found.worth["trees"] > 0.9
    all_kept = replace(ROOM, n=1000)
    found = learn.against_simple(all_kept, right)
    assert (found.simple, found.judged_by) == ("", "ndcg")
    wrong = with_score(other, -label + 0.0)
    found = learn.against_simple(ROOM, wrong)
    assert found.judged_by == "hit_rate"
    assert found.worth["trees"] < found.worth[found.simple]
    assert learn.against_simple(all_kept, wrong).judged_by == "ndcg"


def test_trees_that_keep_more_and_order_no_better_say_what_is_kept_and_the_simple_order_orders_it(other):
    """In each list the positives come last of what is kept: all are kept, at the worst places."""
    label, group = other["label"].to_numpy(), np.unique(
        [f"{asof} {user}" for asof, user in zip(other["asof"].to_pylist(), other["user_id"].to_pylist(), strict=True)],
        return_inverse=True,
    )[1]  # fmt: skip
    weight = other["weight"].to_numpy()
    order = np.lexsort((-label, group))
    score = np.zeros(len(label))
    room = replace(ROOM, n=int(np.bincount(group, weight).max()) // 2)
    for number in np.unique(group):
        rows = order[group[order] == number]  # the positives first
        places = np.cumsum(weight[rows])
        head = rows[: int(np.searchsorted(places, room.n, "right"))]
        score[rows], score[head] = -1 - np.arange(len(rows)), np.arange(len(head))[: len(head)]
    found = learn.against_simple(room, with_score(other, score))
    assert (found.simple != "", found.keeps, found.judged_by) == (True, True, "ndcg")
    model = replace(learn.fit(room, other), stood=found)
    by_trees = room.narrow(replace(model, stood=trees.StoodBack()), bare()).kept
    ordered = room.narrow(model, bare()).kept
    pair = ["user_id", "item_id"]
    rows = [sorted(each.select(pair).to_pylist(), key=str) for each in (by_trees, ordered)]
    assert rows[0] == rows[1]
    pairs = Pairs(small_shard().users, small_shard().items, ordered)
    plain = simple.order(found.simple, lambda name: FEATURES[name](pairs)).astype(np.float32)
    assert (np.diff(plain)[np.diff(pairs.user) == 0] <= 0).all()


def test_the_log_has_the_trees_scores_also_where_a_simple_order_orders_and_by_them_they_come_back(other):
    right = with_score(other, other["label"].to_numpy() + 0.0)
    model = learn.fit(ROOM, right)
    back = replace(model, stood=trees.StoodBack("popular_1x", {}, "ndcg"))
    found = {}
    for name, each in (("trees", model), ("simple", back)):
        done = ROOM.narrow(each, bare())
        rows = pa.concat_tables([done.kept, done.removed], promote_options="permissive").sort_by(
            [("user_id", "ascending"), ("item_id", "ascending")]
        )
        found[name] = rows
    assert found["simple"]["shadow_score"] == found["trees"]["shadow_score"] == found["trees"]["prerank_score"]
    assert found["simple"]["prerank_score"] != found["trees"]["prerank_score"]
    assert "shadow_score" not in received(ROOM.narrow(back, bare()).kept).column_names
    assert "shadow_score" not in ROOM.narrow(back, replace(bare(), logged=False)).kept.column_names
    popular = with_score(
        other, np.nan_to_num(other["item_users_1x"].to_numpy())
    )  # what a simple order would have left there
    assert learn.against_simple(ROOM, popular).simple
    assert not learn.against_simple(ROOM, popular.append_column("shadow_score", right["prerank_score"])).simple


def test_what_is_kept_is_counted_in_places_of_the_whole_list():
    """A row of weight 3 takes three places."""
    score, group = np.array([5.0, 4, 3, 2, 9, 8]), np.array([0, 0, 0, 0, 1, 1])
    label, weight = np.array([0, 1, 0, 1, 0, 0]), np.array([1.0, 1, 3, 1, 1, 1])
    np.testing.assert_allclose(hit_rate(score, label, weight, group, 5), [0.5])
    np.testing.assert_allclose(hit_rate(score, label, weight, group, 6), [1.0])
    np.testing.assert_allclose(hit_rate(score, 0 * label, weight, group, 6), [0.0])


def test_a_setting_keeps_the_trees_and_without_scores_nothing_is_decided(spoiled):
    assert learn.against_simple(replace(ROOM, stand_back=False), spoiled) == trees.StoodBack()
    assert learn.against_simple(ROOM, examples(small_shard(), scored=False)) == trees.StoodBack()


def test_all_windows_with_scores_decide_together(other):
    label, asof = other["label"].to_numpy(), np.array(other["asof"].to_pylist())
    for day in DAYS:  # right in one window, upside down in the other: on the whole as good as many a simple order
        mixed = with_score(other, np.where(asof == str(day), label, -label) + 0.0)
        assert 0.4 < learn.against_simple(ROOM, mixed).worth["trees"] < 0.6


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
        "!! prerank orders by popular_16th: trees was not better on the latest horizons, beyond chance (ndcg 0.0700 against 0.0712)"
    )
    found = stood_back({"prerank": notes["prerank"] | {"kept_by": "trees"}})
    said = verdicts({"steps": [], "narrowing": ["recall", "prerank", "rank", "rerank"], "stood_back": found})[0]
    assert said == line + "; what is kept is said by trees"
