"""Populations, lists and baselines on a world with three users."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_run import ITEMS, PUBLISHED, TRUTH, USERS, pairs

from stages.evaluation import baselines
from stages.evaluation.judge import Judge


@pytest.fixture(name="judge")
def _judge() -> Judge:
    return Judge(TRUTH, USERS, ITEMS)


def named(judge, lists, user):
    """One user's list in words."""
    at = judge.users.to_pylist().index(user)
    rows = sorted(zip(lists.place[lists.user == at], lists.item[lists.user == at], strict=True))
    assert [place for place, _ in rows] == list(range(1, len(rows) + 1))
    return [judge.items[int(item)].as_py() for _, item in rows]


def test_populations(judge):
    everyone, new = judge.populations["all"], judge.populations["new"]
    assert everyone.positives.tolist() == [6, 1, 1]  # a, b and c, whom no profile knows
    assert new.positives.tolist() == [4, 1, 1]  # a had 1 and 2 before
    assert judge.users.to_pylist() == ["a", "b", "d", "c"]


def test_a_user_without_a_list_counts_as_zero(judge):
    lists = judge.lists(PUBLISHED)
    assert judge.per_user(lists, "all", 2)["recall"].tolist() == [1 / 2, 0, 0]
    assert judge.per_user(lists, "new", 2)["recall"].tolist() == [
        0,
        0,
        0,
    ]  # a6 and b2 are nobody's positives


def test_new_keeps_places_and_discovery_moves_new_items_up(judge):
    shown = pairs("a1 a3 a4")
    kept = judge.per_user(judge.lists(shown), "new", 3)
    moved = judge.per_user(judge.candidates(shown).top(shown["rank"], 3, new=True), "discovery", 3)
    assert (kept["mrr"][0], moved["mrr"][0]) == (1 / 2, 1)
    assert kept["recall"][0] == moved["recall"][0] == 2 / 3


def test_unknown_users_and_items_are_no_hits(judge):
    lists = judge.lists(pairs("zz z1 a9 axyz a1"))
    assert judge.hits(lists, "all", 3).tolist()[0] == [True, False, True]


@pytest.mark.parametrize("ranks", [[0, 1], [1, 1]])
def test_a_list_with_impossible_ranks_is_refused(judge, ranks):
    with pytest.raises(ValueError, match="rank"):
        judge.lists(pairs("a1 a2").set_column(2, "rank", pa.array(ranks)))


def test_a_list_with_an_item_twice_is_refused(judge):
    with pytest.raises(ValueError, match="item_id"):
        judge.lists(pairs("a1 a1"))


def test_orders_skip_nulls_and_close_gaps(judge):
    pool = judge.candidates(pairs("a1 a2 a3 b2 b1"))
    lists = pool.top(pa.chunked_array([pa.array([9, None, 4, 7, 2])]), 2)
    assert named(judge, lists, "a") == ["3", "1"]
    assert named(judge, lists, "b") == ["1", "2"]


def test_popularity_breaks_ties_by_longer_steps_then_id(judge):
    assert named(judge, baselines.popular(judge, USERS, ITEMS, "1x", 5), "b") == ["1", "2", "3", "4", "5"]
    assert named(judge, baselines.popular(judge, USERS, ITEMS, "1x", 3, new=True), "a") == ["3", "4", "5"]


def test_own_then_popular_fills_with_what_the_user_lacks(judge):
    lists = baselines.own_then_popular(judge, USERS, ITEMS, "1x", 3)
    assert named(judge, lists, "a") == ["1", "2", "3"]
    assert named(judge, lists, "b") == ["2", "1", "3"]
    assert named(judge, lists, "d") == ["1", "2", "3"]  # an empty history


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_per_user_recall_agrees_with_sets(data):
    users, items = "abc", "1234567"
    truth = {(u, i) for u in users for i in items if data.draw(st.booleans())} or {("a", "1")}
    shown = {u: data.draw(st.permutations(items))[:4] for u in users}
    judge = Judge(pairs(" ".join(u + i for u, i in sorted(truth))), USERS, ITEMS)
    lists = judge.lists(pairs(" ".join(u + i for u in users for i in shown[u])))
    wanted = []
    for user in (u for u in judge.users.to_pylist() if any(u == other for other, _ in truth)):
        positives = {i for u, i in truth if u == user}
        wanted.append(len(positives & set(shown[user][:3])) / min(3, len(positives)))
    assert judge.per_user(lists, "all", 3)["recall"] == pytest.approx(wanted)


def test_a_stage_of_860_thousand_candidates_agrees_with_a_loop_over_users():
    users, width, catalogue, n = 2500, 344, 5000, 20
    random = np.random.default_rng(0)
    item = np.stack([random.permutation(catalogue)[:width] for _ in range(users)])
    rank = random.random(item.shape)
    positive = random.random(item.shape) < 1 / 43
    names = {"user_id": np.repeat([f"u{n}" for n in range(users)], width), "item_id": item.ravel().astype(str)}
    table = pa.table(names)
    judge = Judge(
        table.filter(pa.array(positive.ravel())), None, pa.table({"item_id": np.arange(catalogue).astype(str)})
    )
    found = judge.per_user(judge.candidates(table).top(rank.ravel(), n), "all", n)
    at = {user: row for row, user in enumerate(judge.users.to_pylist())}
    for user in range(users):
        count = int(positive[user].sum())
        if not count:
            assert f"u{user}" not in at
            continue
        row = judge.populations["all"].row[at[f"u{user}"]]
        hits = [place for place, column in enumerate(np.argsort(rank[user])[:n], 1) if positive[user, column]]
        best = min(n, count)
        ideal = sum(1 / np.log2(place + 1) for place in range(1, best + 1))
        assert found["recall"][row] == pytest.approx(len(hits) / best)
        assert found["ndcg"][row] == pytest.approx(sum(1 / np.log2(place + 1) for place in hits) / ideal)
        assert found["mrr"][row] == pytest.approx(1 / hits[0] if hits else 0)
        assert found["hit_rate"][row] == bool(hits)
    assert 0.05 < found["recall"].mean() < 0.15  # 20 of 344 places, 8 positives a user
