"""Prerank: learns what users take, keeps the best, loses nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

from features.lookup import Pairs
from features.pair import FEATURES, matrix
from narrows.stage import Shard
from stages.prerank import Prerank, learn, trees
from tests.recall.tiny import ASOF, random_rows, shard

ROOM = Prerank(
    min_rows=5,
    positives_per_tree=1,
    pointwise_trees=20,
    lambdarank_trees=10,
    first_trees=8,
    first_n=6,
    learning_rate=0.1,
    n=10,
    threads=2,
)


def all_pairs(asked: Shard) -> pa.Table:
    users, items = asked.users["user_id"].to_pylist(), asked.items["item_id"].to_pylist()
    return pa.table({"user_id": np.repeat(users, len(items)), "item_id": items * len(users)})


def examples(asked: Shard) -> pa.Table:
    """Every pair; label 1 where the user had the item on five days or more."""
    pairs = all_pairs(asked)
    values = matrix(Pairs(asked.users, asked.items, pairs), tuple(FEATURES))
    columns = dict(zip(FEATURES, values.T, strict=True))
    label = (np.nan_to_num(columns["history_count"]) >= 5).astype(np.int32)
    asof = [str(ASOF - timedelta(days=7))] * len(label)
    more = {
        "label": label,
        "weight": np.ones(len(label), np.float32),
        "label_weight": np.ones(len(label), np.float32),
        "asof": asof,
    }
    return pa.table({**{name: pairs[name] for name in pairs.column_names}, **columns, **more})


@pytest.fixture(scope="module")
def asked() -> Shard:
    small = shard(random_rows())
    return replace(small, candidates=all_pairs(small))


@pytest.fixture(scope="module")
def model(asked) -> trees.PrerankModel:
    return learn.fit(ROOM, examples(asked))


def test_what_users_take_comes_first_and_nothing_vanishes(asked, model):
    narrowed = ROOM.narrow(model, asked)
    assert narrowed.kept.num_rows + narrowed.removed.num_rows == asked.candidates.num_rows
    assert set(narrowed.removed["reason"].to_pylist()) == {"prerank_cut"}
    users = narrowed.kept["user_id"].to_pylist()
    assert users == sorted(users)
    assert narrowed.kept["prerank_rank"].to_pylist() == [*range(1, 11)] * asked.users.num_rows
    label = examples(asked)
    positives = {(row["user_id"], row["item_id"]) for row in label.to_pylist() if row["label"]}
    first = narrowed.kept.filter(pa.compute.less_equal(narrowed.kept["prerank_rank"], 5)).to_pylist()
    assert sum((row["user_id"], row["item_id"]) in positives for row in first) > 0.9 * len(positives)


def test_one_thread_or_two_and_a_reload_make_the_same(asked, model, tmp_path):
    narrowed = ROOM.narrow(model, asked)
    assert replace(ROOM, threads=1).narrow(model, asked).kept.equals(narrowed.kept)
    model.save(tmp_path)
    assert ROOM.narrow(ROOM.load(tmp_path), asked).kept.equals(narrowed.kept)


def test_no_candidates_make_none(asked, model):
    narrowed = ROOM.narrow(model, replace(asked, candidates=asked.candidates.slice(0, 0)))
    assert narrowed.kept.num_rows == narrowed.removed.num_rows == 0
    assert {"prerank_score", "prerank_rank"} <= set(narrowed.kept.column_names)


def test_densely_sampled_negatives_are_thinned_to_the_share_of_the_others(asked):
    """Every other negative was sampled ten times as densely: a tenth of those stays, and all else."""
    rows = examples(asked)
    dense = np.arange(len(rows)) % 2 == 1
    weight = pa.array(np.where(dense, 1.0, 10.0).astype(np.float32))
    rows = rows.set_column(rows.column_names.index("weight"), "weight", weight)
    positive = rows["label"].to_numpy() > 0
    chosen, sizes = learn.rows_to_learn(rows, ROOM.seed)
    assert sizes.sum() == len(chosen) == len(set(chosen))
    share = np.isin(np.arange(len(rows)), chosen)
    assert share[positive].all()
    assert share[~positive & ~dense].all()
    assert share[~positive & dense].mean() == pytest.approx(0.1, abs=0.03)
    uniform, _ = learn.rows_to_learn(examples(asked), ROOM.seed)
    assert len(uniform) == len(rows)
    trained = learn.fit(ROOM, rows).first  # the root of a tree counts the rows that were learned from
    assert trained.trees_to_dataframe()["count"].max() <= len(chosen)


def test_every_model_of_the_ensemble_starts_afresh(asked):
    """They are fitted one after the other on the same data; none continues from what another left there."""
    rows = examples(asked)
    second = learn.fit(replace(ROOM, seed=3, ensemble_size=2), rows).ensemble[1]
    alone = learn.fit(replace(ROOM, seed=3, ensemble_size=1), rows).ensemble[0]
    values = [float(model.trees_to_dataframe()["value"].abs().iloc[0]) for model in (alone, second)]
    assert values[1] == pytest.approx(values[0], rel=0.5)  # both begin at the log-odds of a positive, not at 0


def test_few_positive_examples_get_few_trees(asked):
    rows = examples(asked)
    positives = int(rows["label"].to_numpy().sum())
    for per_tree, count in ((positives // 15, 15 + ROOM.lambdarank_trees), (positives, 10 + ROOM.lambdarank_trees)):
        few = learn.fit(replace(ROOM, positives_per_tree=per_tree), rows)
        assert [model.num_trees() for model in few.ensemble] == [count] * ROOM.ensemble_size


def test_examples_without_a_positive_are_refused(asked):
    rows = examples(asked)
    rows = rows.set_column(rows.column_names.index("label"), "label", pa.array(np.zeros(len(rows), np.int32)))
    with pytest.raises(ValueError, match="label 1"):
        learn.fit(ROOM, rows)


def test_candidates_must_be_of_the_shard_and_grouped(asked):
    with pytest.raises(ValueError, match="in the shard"):
        Pairs(asked.users, asked.items, pa.table({"user_id": ["u000"], "item_id": ["nothing"]}))
    with pytest.raises(ValueError, match="grouped"):
        Pairs(asked.users, asked.items, pa.table({"user_id": ["u001", "u000"], "item_id": ["i1", "i1"]}))


def test_the_first_model_chooses_and_the_ensemble_orders(asked, model):
    """Only the best by the first model get the ensemble's score; the others rank below, in the first model's order."""
    narrowed = ROOM.narrow(model, asked)
    both = pa.concat_tables([narrowed.kept, narrowed.removed.drop_columns(["reason"])]).sort_by(
        [("user_id", "ascending"), ("prerank_rank", "ascending")]
    )
    pairs = Pairs(asked.users, asked.items, both)
    first, mean = model.first_scores(pairs), model.ensemble_scores(pairs)
    assert len(model.first.feature_name()) == ROOM.first_features < len(FEATURES)
    assert len({one.model_to_string() for one in model.ensemble}) == ROOM.ensemble_size
    rank = both["prerank_rank"].to_numpy()
    for one in range(pairs.user.max() + 1):
        mine = pairs.user == one
        head, tail = mine & (rank <= 6), mine & (rank > 6)
        assert first[head].min() >= first[tail].max()
        assert (np.diff(mean[head]) <= 1e-6).all()
        assert (np.diff(first[tail]) <= 1e-6).all()
        assert (np.diff(both["prerank_score"].to_numpy()[mine]) <= 0).all()


def test_a_part_of_the_pairs_has_the_same_features(asked):
    pairs = Pairs(asked.users, asked.items, asked.candidates)
    whole = matrix(pairs, tuple(FEATURES))
    rows = np.flatnonzero(np.random.default_rng(0).random(len(pairs)) < 0.3)
    np.testing.assert_array_equal(matrix(pairs.take(rows), tuple(FEATURES)), whole[rows])  # all known before
    part = Pairs(asked.users, asked.items, asked.candidates).take(rows)
    np.testing.assert_array_equal(matrix(part, tuple(FEATURES)), whole[rows])  # nothing known before


@pytest.mark.parametrize("name", ["ensemble_size", "positives_per_tree", "first_trees", "first_features", "first_n"])
def test_a_setting_of_0_is_refused(name):
    with pytest.raises(ValueError, match=f"{name}\n  Input should be greater than or equal to 1"):
        replace(ROOM, **{name: 0})
