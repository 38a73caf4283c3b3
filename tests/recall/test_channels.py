"""The channels one by one, against what they mean."""

from __future__ import annotations

import numpy as np

from stages.recall import ease
from stages.recall.channels.ease import Ease
from stages.recall.channels.own import Own
from stages.recall.channels.popular_in_group import Segment
from stages.recall.query import Proposals, Query
from tests.recall.tiny import random_rows, shard

ROWS = random_rows()


def test_own_history_orders_by_decayed_days():
    known = shard([("u1", "i1", 0), ("u1", "i2", 200), ("u1", "i2", 210), ("u1", "i3", 1), ("u1", "i3", 2)])
    proposals = Own().propose(Query(known.users, known.items), 2)
    assert [known.items["item_id"][int(i)].as_py() for i in proposals.item] == ["i3", "i1"]
    assert proposals.score.dtype == np.float32


def test_popularity_within_a_group_sees_that_group_only():
    known = shard([("u1", "i1", 1), ("u3", "i1", 1), ("u2", "i2", 1), ("u4", "i3", 1), ("u6", "i3", 1)])
    proposals = Segment().propose(Query(known.users, known.items), 1)
    ids = known.items["item_id"].to_pylist()
    names = known.users["user_id"].to_pylist()
    assert {(names[u], ids[i]) for u, i in zip(proposals.user, proposals.item, strict=True)} == {
        ("u2", "i3"),
        ("u4", "i2"),
        ("u6", "i2"),
    }


def test_ease_is_each_items_ridge_regression_on_the_others_times_the_trend():
    known = shard([*ROWS, ("u001", "i1", 200)], users=[*(f"u{n:03}" for n in range(40)), "stranger"])
    query = Query(known.users, known.items)
    fitted = ease.fit(Ease(items=30, ridge=10.0), query)
    ids, recent = known.items["item_id"].to_pylist(), known.items["users_4x"].to_numpy()
    rows_of_items = [ids.index(item) for item in fitted.items.to_pylist()]
    assert len(rows_of_items) == 30
    assert min(recent[rows_of_items]) >= np.sort(recent)[-30]
    x = query.seen[:, rows_of_items].toarray().astype(float)
    ridge = np.sqrt(10.0) * np.eye(30)
    for j in (0, 7, 29):
        others = np.arange(30) != j
        rows = np.vstack([x[:, others], ridge[others][:, others]])  # ridge regression as plain least squares
        plain = np.linalg.lstsq(rows, np.append(x[:, j], np.zeros(29)), rcond=None)[0]
        np.testing.assert_allclose(fitted.weights[others, j], plain, atol=1e-5)
    assert not np.diag(fitted.weights).any()
    proposals = fitted.propose(query, 5)
    assert "stranger" not in {known.users["user_id"][int(u)].as_py() for u in proposals.user}
    assert not np.asarray(query.seen[proposals.user, proposals.item]).any()
    assert np.bincount(proposals.user).max() == 5
    assert (proposals.user.dtype, proposals.item.dtype, proposals.score.dtype) == (np.int32, np.int32, np.float32)
    user, item = int(proposals.user[0]), rows_of_items.index(int(proposals.item[0]))
    trend = (recent[rows_of_items] + 1) / (known.items["users_64x"].to_numpy()[rows_of_items] + 20)
    score = np.where(x[user] > 0, -np.inf, x[user] @ fitted.weights * trend)
    assert item == score.argmax()
    np.testing.assert_allclose(proposals.score[0], score.max(), rtol=1e-4)


def test_ease_without_a_recent_item_proposes_nothing_and_forgets_items_that_left_the_catalogue():
    old = shard([("u1", "i1", 60), ("u2", "i1", 70)])
    fitted = ease.fit(Ease(items=10, ridge=1.0), Query(old.users, old.items))
    assert len(fitted.items) == 0
    assert len(fitted.propose(Query(old.users, old.items), 3).item) == 0
    known = shard(ROWS)
    fitted = ease.fit(Ease(items=50, ridge=10.0), Query(known.users, known.items))
    fewer = shard(ROWS, items=sorted({i for _, i, _ in ROWS})[10:])
    proposals = fitted.propose(Query(fewer.users, fewer.items), 5)
    assert len(proposals.item)
    assert proposals.item.max() < fewer.items.num_rows


def test_proposals_best_keeps_n_of_each_user():
    proposals = Proposals.best(np.array([1, 0, 1, 1]), np.array([4, 5, 6, 7]), np.array([1.0, 2.0, 3.0, 3.0]), 2)
    assert proposals.user.tolist() == [0, 1, 1]
    assert proposals.item.tolist() == [5, 6, 7]
