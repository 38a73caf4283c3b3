"""Recall: channels, index, merge."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from narrows.stage import Narrowed, Shard
from stages.recall import Recall, ease, index, model
from stages.recall.channels import CHANNELS
from stages.recall.channels.ease import Ease
from stages.recall.channels.own import Own
from stages.recall.channels.popular import Popular28d
from stages.recall.channels.popular_in_group import Segment
from stages.recall.query import Proposals, Query
from tests.recall.tiny import ASOF, Rows, events, random_rows, shard

SMALL = {"item_to_item": {"min_users": 2}, "two_tower": {"min_users": 2, "pairs": 500, "batch": 64}}
ROOM = Recall(channels=SMALL)
ROWS = random_rows()


def run(rows: Rows, room: Recall = ROOM, asked: Shard | None = None, repeats: bool = True) -> tuple[Narrowed, Shard]:
    known = shard(rows, repeats=repeats)
    fitted = model.fit(room, events(rows), known.users, known.items, ASOF)
    asked = asked or known
    return room.narrow(fitted, asked), asked


def items_of(table: pa.Table, user: str) -> list[str]:
    return [row["item_id"] for row in table.to_pylist() if row["user_id"] == user]


def test_every_pair_comes_once_best_first_with_the_scores_of_all_who_proposed_it():
    made, asked = run(ROWS)
    both = pa.concat_tables([made.kept, made.removed.drop_columns("reason")])
    pairs = set(zip(both["user_id"].to_pylist(), both["item_id"].to_pylist(), strict=True))
    assert len(pairs) == both.num_rows
    users = made.kept["user_id"].to_pylist()
    assert users == sorted(users)
    assert asked.users.num_rows == len(set(users))
    ranks = made.kept["recall_rank"].to_numpy()
    assert (ranks[np.flatnonzero(np.diff(np.array([int(u[1:]) for u in users]), prepend=-1))] == 1).all()
    for name in ("own", "popular_7d", "popular_28d", "segment", "context", "item_to_item", "ease", "two_tower"):
        assert name in CHANNELS
        score, rank = made.kept[f"{name}_score"].combine_chunks(), made.kept[f"{name}_rank"].combine_chunks()
        assert score.type == pa.float32()
        assert rank.type == pa.int32()
        assert score.is_null().to_pylist() == rank.is_null().to_pylist()
        assert score.null_count < len(score), name
    assert set(made.removed["reason"].to_pylist()) <= {"quota", "not_eligible"}


def test_favourites_come_first_and_newcomers_get_what_is_popular():
    asked = shard(ROWS, users=["u001", "stranger"], items=sorted({i for _, i, _ in ROWS}))
    made, _ = run(ROWS, asked=asked)
    weekly = {i for u, i, _ in ROWS if u == "u001" and sum(r[:2] == (u, i) for r in ROWS) >= 6}
    assert set(items_of(made.kept, "u001")[:5]) <= weekly
    best = Popular28d().propose(Query(asked.users, asked.items), 3)
    stranger = items_of(made.kept, "stranger")
    ids = asked.items["item_id"].to_pylist()
    assert {ids[i] for i in best.item[best.user == 1]} <= set(stranger[:6])


def test_quotas_bound_a_channel_and_n_bounds_the_user():
    made, _ = run(
        ROWS,
        Recall(channels={name: {"quota": 3 if name == "own" else 0} for name in CHANNELS}),
    )
    assert [name for name in made.kept.column_names if name.endswith("_rank")] == ["own_rank", "recall_rank"]
    counts = np.unique(made.kept["user_id"].to_numpy(zero_copy_only=False), return_counts=True)[1]
    assert set(counts) == {3}
    few, _ = run(ROWS, Recall(channels=SMALL, n=4))
    assert set(np.unique(few.kept["user_id"].to_numpy(zero_copy_only=False), return_counts=True)[1]) == {4}


def test_stale_items_are_not_eligible():
    rows = [*ROWS, ("u001", "old", 80), ("u002", "old", 85)]
    made, _ = run(rows, Recall(channels=SMALL, fresh_days=30, history_days=60))
    assert "old" not in made.kept["item_id"].to_pylist()
    why = {row["reason"] for row in made.removed.to_pylist() if row["item_id"] == "old"}
    assert why == {"not_eligible"}


def test_where_nothing_is_taken_twice_what_a_user_had_is_not_offered():
    made, _ = run(ROWS, repeats=False)
    had = {(u, i) for u, i, _ in ROWS}
    kept = set(zip(made.kept["user_id"].to_pylist(), made.kept["item_id"].to_pylist(), strict=True))
    assert kept
    assert not kept & had


def test_own_history_orders_by_decayed_days():
    asked = shard([("u1", "i1", 0), ("u1", "i2", 200), ("u1", "i2", 210), ("u1", "i3", 1), ("u1", "i3", 2)])
    found = Own().propose(Query(asked.users, asked.items), 2)
    assert [asked.items["item_id"][int(i)].as_py() for i in found.item] == ["i3", "i1"]
    assert found.score.dtype == np.float32


def test_ease_is_each_items_ridge_regression_on_the_others_times_the_trend():
    asked = shard([*ROWS, ("u001", "i1", 200)], users=[*(f"u{n:03}" for n in range(40)), "stranger"])
    query = Query(asked.users, asked.items)
    fitted = ease.fit(Ease(items=30, ridge=10.0), query)
    ids, recent = asked.items["item_id"].to_pylist(), asked.items["users_28d"].to_numpy()
    known = [ids.index(item) for item in fitted.items.to_pylist()]
    assert len(known) == 30
    assert min(recent[known]) >= np.sort(recent)[-30]
    x = query.seen[:, known].toarray().astype(float)
    ridge = np.sqrt(10.0) * np.eye(30)
    for j in (0, 7, 29):
        others = np.arange(30) != j
        rows = np.vstack([x[:, others], ridge[others][:, others]])  # ridge regression as plain least squares
        plain = np.linalg.lstsq(rows, np.append(x[:, j], np.zeros(29)), rcond=None)[0]
        np.testing.assert_allclose(fitted.weights[others, j], plain, atol=1e-5)
    assert not np.diag(fitted.weights).any()
    found = fitted.propose(query, 5)
    assert "stranger" not in {asked.users["user_id"][int(u)].as_py() for u in found.user}
    assert not np.asarray(query.seen[found.user, found.item]).any()
    assert np.bincount(found.user).max() == 5
    assert (found.user.dtype, found.item.dtype, found.score.dtype) == (np.int32, np.int32, np.float32)
    user, item = int(found.user[0]), known.index(int(found.item[0]))
    trend = (recent[known] + 1) / (asked.items["users_365d"].to_numpy()[known] + 20)
    score = np.where(x[user] > 0, -np.inf, x[user] @ fitted.weights * trend)
    assert item == score.argmax()
    np.testing.assert_allclose(found.score[0], score.max(), rtol=1e-4)


def test_ease_without_a_recent_item_proposes_nothing_and_forgets_items_that_left_the_catalogue():
    old = shard([("u1", "i1", 60), ("u2", "i1", 70)])
    fitted = ease.fit(Ease(items=10, ridge=1.0), Query(old.users, old.items))
    assert len(fitted.items) == 0
    assert len(fitted.propose(Query(old.users, old.items), 3).item) == 0
    known = shard(ROWS)
    fitted = ease.fit(Ease(items=50, ridge=10.0), Query(known.users, known.items))
    fewer = shard(ROWS, items=sorted({i for _, i, _ in ROWS})[10:])
    found = fitted.propose(Query(fewer.users, fewer.items), 5)
    assert len(found.item)
    assert found.item.max() < fewer.items.num_rows


def test_where_no_item_has_enough_users_the_other_channels_propose():
    made, _ = run(ROWS, Recall(channels={name: {"min_users": 10**6} for name in ("item_to_item", "two_tower")}))
    assert made.kept.num_rows
    assert made.kept["item_to_item_rank"].null_count == made.kept.num_rows


def test_popularity_within_a_group_sees_that_group_only():
    asked = shard([("u1", "i1", 1), ("u3", "i1", 1), ("u2", "i2", 1), ("u4", "i3", 1), ("u6", "i3", 1)])
    found = Segment().propose(Query(asked.users, asked.items), 1)
    ids = asked.items["item_id"].to_pylist()
    names = asked.users["user_id"].to_pylist()
    assert {(names[u], ids[i]) for u, i in zip(found.user, found.item, strict=True)} == {
        ("u2", "i3"),
        ("u4", "i2"),
        ("u6", "i2"),
    }


def test_proposals_best_keeps_n_of_each_user():
    found = Proposals.best(np.array([1, 0, 1, 1]), np.array([4, 5, 6, 7]), np.array([1.0, 2.0, 3.0, 3.0]), 2)
    assert found.user.tolist() == [0, 1, 1]
    assert found.item.tolist() == [5, 6, 7]


@pytest.mark.parametrize("kind", index.KINDS)
def test_the_index_gives_no_padding_and_nothing_for_zero_queries(kind):
    vectors = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)
    built = index.build(vectors, kind)
    queries = np.concatenate([vectors[:3] * 10, np.zeros((1, 8), np.float32)])
    row, found, score = index.search(built, queries, 1000)  # more than there are: FAISS pads with -1
    assert (found >= 0).all()
    assert (found < 300).all()
    assert set(row) == {0, 1, 2}
    assert np.isfinite(score).all()
    exact = np.argmax(queries[:3] @ vectors.T, 1)
    assert [found[row == k][0] for k in range(3)] == exact.tolist()


def test_an_empty_index_and_an_unknown_kind():
    built = index.build(np.empty((0, 4), np.float32), "exact")
    assert [len(part) for part in index.search(built, np.ones((2, 4), np.float32), 5)] == [0, 0, 0]
    with pytest.raises(ValueError, match="exact, ivf, hnsw"):
        index.build(np.ones((200, 4), np.float32), "tree")


def test_a_saved_model_proposes_the_same(tmp_path):
    known = shard(ROWS)
    fitted = model.fit(ROOM, events(ROWS), known.users, known.items, ASOF)
    fitted.save(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"item_to_item", "ease", "two_tower", "recall.json"}
    again = ROOM.load(tmp_path)
    assert ROOM.narrow(again, known).kept.equals(ROOM.narrow(fitted, known).kept)


def test_two_halves_make_the_whole():
    made, asked = run(ROWS)
    fitted = model.fit(ROOM, events(ROWS), asked.users, asked.items, ASOF)
    parts = [
        ROOM.narrow(fitted, Shard(asked.users.slice(*cut), asked.items, None, ASOF)).kept for cut in ((0, 15), (15,))
    ]
    whole = pa.concat_tables(parts)
    for name in ("user_id", "item_id", "recall_rank"):
        assert whole[name].to_pylist() == made.kept[name].to_pylist()
