"""Prerank: learns what is taken, keeps the best, loses nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

from features.lookup import Pairs
from features.pair import FEATURES, matrix
from narrows.stage import Shard
from stages.prerank import Prerank, trees
from tests.recall.tiny import ASOF, random_rows, shard

ROOM = Prerank(
    min_rows=5,
    good_per_tree=1,
    chance_trees=20,
    order_trees=10,
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
    asof = pa.array([ASOF - timedelta(days=7)] * len(label))
    more = {"label": label, "weight": np.ones(len(label), np.float32), "asof": asof}
    return pa.table({**{name: pairs[name] for name in pairs.column_names}, **columns, **more})


@pytest.fixture(scope="module")
def asked() -> Shard:
    made = shard(random_rows())
    return replace(made, candidates=all_pairs(made))


@pytest.fixture(scope="module")
def model(asked) -> trees.PrerankModel:
    return trees.fit(ROOM, examples(asked))


def test_what_is_taken_comes_first_and_nothing_vanishes(asked, model):
    made = ROOM.narrow(model, asked)
    assert made.kept.num_rows + made.removed.num_rows == asked.candidates.num_rows
    assert set(made.removed["reason"].to_pylist()) == {"prerank_cut"}
    users = made.kept["user_id"].to_pylist()
    assert users == sorted(users)
    assert made.kept["prerank_rank"].to_pylist() == [*range(1, 11)] * asked.users.num_rows
    label = examples(asked)
    good = {(row["user_id"], row["item_id"]) for row in label.to_pylist() if row["label"]}
    first = made.kept.filter(pa.compute.less_equal(made.kept["prerank_rank"], 5)).to_pylist()
    assert sum((row["user_id"], row["item_id"]) in good for row in first) > 0.9 * len(good)


def test_one_thread_or_two_and_a_reload_make_the_same(asked, model, tmp_path):
    made = ROOM.narrow(model, asked)
    assert replace(ROOM, threads=1).narrow(model, asked).kept.equals(made.kept)
    model.save(tmp_path)
    assert ROOM.narrow(ROOM.load(tmp_path), asked).kept.equals(made.kept)


def test_no_candidates_make_none(asked, model):
    made = ROOM.narrow(model, replace(asked, candidates=asked.candidates.slice(0, 0)))
    assert made.kept.num_rows == made.removed.num_rows == 0
    assert {"prerank_score", "prerank_rank"} <= set(made.kept.column_names)


def test_densely_sampled_negatives_are_thinned(asked):
    rows = examples(asked)
    twice = rows.set_column(
        rows.column_names.index("weight"),
        "weight",
        pa.array(np.where(np.arange(len(rows)) % 2, 1.0, 10.0).astype(np.float32)),
    )
    members = trees.fit(ROOM, twice).members
    assert [member.num_trees() for member in members] == [ROOM.chance_trees + ROOM.order_trees] * ROOM.members


def test_every_member_starts_afresh(asked):
    """One after the other on the same data, none goes on from what another left there."""
    rows = examples(asked)
    second = trees.fit(replace(ROOM, seed=3, members=2), rows).members[1]
    alone = trees.fit(replace(ROOM, seed=3, members=1), rows).members[0]
    values = [float(member.trees_to_dataframe()["value"].abs().iloc[0]) for member in (alone, second)]
    assert values[1] == pytest.approx(values[0], rel=0.5)  # both begin at the log-odds of a good item, not at 0


def test_few_good_examples_get_few_trees(asked):
    rows = examples(asked)
    good = int(rows["label"].to_numpy().sum())
    for per_tree, count in ((good // 15, 15 + ROOM.order_trees), (good, 10 + ROOM.order_trees)):
        made = trees.fit(replace(ROOM, good_per_tree=per_tree), rows)
        assert [member.num_trees() for member in made.members] == [count] * ROOM.members


def test_examples_without_a_good_item_are_refused(asked):
    rows = examples(asked)
    rows = rows.set_column(rows.column_names.index("label"), "label", pa.array(np.zeros(len(rows), np.int32)))
    with pytest.raises(ValueError, match="label 1"):
        trees.fit(ROOM, rows)


def test_candidates_must_be_of_the_shard_and_grouped(asked):
    with pytest.raises(ValueError, match="in the shard"):
        Pairs(asked.users, asked.items, pa.table({"user_id": ["u000"], "item_id": ["nothing"]}))
    with pytest.raises(ValueError, match="grouped"):
        Pairs(asked.users, asked.items, pa.table({"user_id": ["u001", "u000"], "item_id": ["i1", "i1"]}))


def test_the_first_model_chooses_and_the_members_order(asked, model):
    """Only the best by the first model get the members' opinion; whoever does not stands behind, in its own order."""
    made = ROOM.narrow(model, asked)
    both = pa.concat_tables([made.kept, made.removed.drop_columns(["reason"])]).sort_by(
        [("user_id", "ascending"), ("prerank_rank", "ascending")]
    )
    pairs = Pairs(asked.users, asked.items, both)
    first, mean = model.choose(pairs), model.order(pairs)
    assert len(model.first.feature_name()) == ROOM.first_features < len(FEATURES)
    assert len({member.model_to_string() for member in model.members}) == ROOM.members
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


@pytest.mark.parametrize("name", ["members", "good_per_tree", "first_trees", "first_features", "first_n"])
def test_a_setting_of_0_is_refused(name):
    with pytest.raises(ValueError, match=f"{name} = 0: give 1 or more"):
        replace(ROOM, **{name: 0})
