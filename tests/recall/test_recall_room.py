"""Recall as a whole: what the merge keeps and why, saving, and sharding."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from features.ladder import STEPS
from narrows.asof import DAY
from narrows.stage import Narrowed, Shard
from stages.recall import Recall, model
from stages.recall.channels import CHANNELS
from stages.recall.query import Query
from tests.recall.tiny import ASOF, SMALL, WEEK, Rows, events, random_rows, shard

ROOM = Recall(channels=SMALL)
ROWS = random_rows()


def run(rows: Rows, room: Recall = ROOM, known: Shard | None = None, repeats: bool = True) -> Narrowed:
    """Fit on the rows, then narrow for ``known``, by default the rows' own users and items."""
    own = shard(rows, repeats=repeats)
    return room.narrow(model.fit(room, events(rows), own.users, own.items, ASOF, WEEK, DAY), known or own)


def items_of(table: pa.Table, user: str) -> list[str]:
    return [row["item_id"] for row in table.to_pylist() if row["user_id"] == user]


def test_every_pair_comes_once_best_first_with_the_scores_of_all_who_proposed_it():
    narrowed = run(ROWS)
    both = pa.concat_tables([narrowed.kept, narrowed.removed.drop_columns("reason")])
    pairs = set(zip(both["user_id"].to_pylist(), both["item_id"].to_pylist(), strict=True))
    assert len(pairs) == both.num_rows
    users = narrowed.kept["user_id"].to_pylist()
    assert users == sorted(users)
    assert shard(ROWS).users.num_rows == len(set(users))
    ranks = narrowed.kept["recall_rank"].to_numpy()
    assert (ranks[np.flatnonzero(np.diff(np.array([int(u[1:]) for u in users]), prepend=-1))] == 1).all()
    names = (
        "own",
        *(f"popular_{step}" for step in STEPS),
        "expected",
        "segment",
        "context",
        "item_to_item",
        "ease",
        "two_tower",
        "viewed",
        "new_items",
    )
    assert tuple(CHANNELS) == names
    for name in names:
        score, rank = narrowed.kept[f"{name}_score"].combine_chunks(), narrowed.kept[f"{name}_rank"].combine_chunks()
        assert score.type == pa.float32()
        assert rank.type == pa.int32()
        assert score.is_null().to_pylist() == rank.is_null().to_pylist()
        if name not in ("popular_64th", "popular_16th"):  # nobody shops that late in the day
            # nobody looked at anything, and of no item it is known since when it is available
            assert (score.null_count < len(score)) == (name not in ("viewed", "new_items")), name
    assert set(narrowed.removed["reason"].to_pylist()) <= {"quota", "not_eligible"}


def test_favourites_come_first_and_newcomers_get_what_is_popular():
    known = shard(ROWS, users=["u001", "stranger"], items=sorted({i for _, i, _ in ROWS}))
    narrowed = run(ROWS, known=known)
    weekly = {i for u, i, _ in ROWS if u == "u001" and sum(r[:2] == (u, i) for r in ROWS) >= 6}
    assert set(items_of(narrowed.kept, "u001")[:5]) <= weekly
    best = CHANNELS["popular_4x"]().propose(Query(known.users, known.items), 3)
    stranger = items_of(narrowed.kept, "stranger")
    ids = known.items["item_id"].to_pylist()
    assert {ids[i] for i in best.item[best.user == 1]} <= set(stranger[:12])


def test_quotas_bound_a_channel_and_n_bounds_the_user():
    narrowed = run(
        ROWS,
        Recall(channels={name: {"quota": 3 if name == "own" else 0} for name in CHANNELS}),
    )
    assert [name for name in narrowed.kept.column_names if name.endswith("_rank")] == ["own_rank", "recall_rank"]
    counts = np.unique(narrowed.kept["user_id"].to_numpy(zero_copy_only=False), return_counts=True)[1]
    assert set(counts) == {3}
    few = run(ROWS, Recall(channels=SMALL, n=4))
    assert set(np.unique(few.kept["user_id"].to_numpy(zero_copy_only=False), return_counts=True)[1]) == {4}


def test_the_reason_is_that_of_the_channel_that_ranks_the_candidate_best():
    """Of equal ranks own comes first, then the first by name; what no channel ranks is `ranked`."""
    narrowed = run([*ROWS, ("u001", "old", 80)], Recall(channels=SMALL, fresh=30 / 7, fresh_own=60 / 7))
    both = pa.concat_tables([narrowed.kept, narrowed.removed.drop_columns("reason")])
    names = sorted(CHANNELS, key=lambda name: (name != "own", name))
    for row in both.to_pylist():
        ranks = {name: row[f"{name}_rank"] for name in names if row[f"{name}_rank"] is not None}
        best = min(ranks, key=ranks.__getitem__, default=None)
        assert row["recall_reason"] == (CHANNELS[best].reason if best else "ranked")
    assert {"ranked", "because_history", "similar", "two_tower"} <= set(both["recall_reason"].to_pylist())


def test_stale_items_are_not_eligible():
    rows = [*ROWS, ("u001", "old", 80), ("u002", "old", 85)]
    narrowed = run(rows, Recall(channels=SMALL, fresh=30 / 7, fresh_own=60 / 7))
    assert "old" not in narrowed.kept["item_id"].to_pylist()
    why = {row["reason"] for row in narrowed.removed.to_pylist() if row["item_id"] == "old"}
    assert why == {"not_eligible"}


def test_where_nothing_is_taken_twice_what_a_user_had_is_not_offered():
    narrowed = run(ROWS, repeats=False)
    had = {(u, i) for u, i, _ in ROWS}
    kept = set(zip(narrowed.kept["user_id"].to_pylist(), narrowed.kept["item_id"].to_pylist(), strict=True))
    assert kept
    assert not kept & had


def test_where_no_item_has_enough_users_the_other_channels_propose():
    narrowed = run(ROWS, Recall(channels={name: {"min_users": 10**6} for name in ("item_to_item", "two_tower")}))
    assert narrowed.kept.num_rows
    assert narrowed.kept["item_to_item_rank"].null_count == narrowed.kept.num_rows


def test_a_saved_model_proposes_the_same(tmp_path):
    known = shard(ROWS)
    fitted = model.fit(ROOM, events(ROWS), known.users, known.items, ASOF, WEEK, DAY)
    fitted.save(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"item_to_item", "ease", "two_tower", "recall.json"}
    again = ROOM.load(tmp_path)
    assert ROOM.narrow(again, known).kept.equals(ROOM.narrow(fitted, known).kept)


def test_two_halves_make_the_whole():
    known, narrowed = shard(ROWS), run(ROWS)
    fitted = model.fit(ROOM, events(ROWS), known.users, known.items, ASOF, WEEK, DAY)
    parts = [
        ROOM.narrow(fitted, Shard(known.users.slice(*cut), known.items, None, ASOF)).kept for cut in ((0, 15), (15,))
    ]
    whole = pa.concat_tables(parts)
    for name in ("user_id", "item_id", "recall_rank"):
        assert whole[name].to_pylist() == narrowed.kept[name].to_pylist()
