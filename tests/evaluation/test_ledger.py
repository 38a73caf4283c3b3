"""The outcome of every positive, the ledger, survival and overlap."""

import math
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from narrows import candidates
from stages.evaluation.ledger import find_pairs, gates, head, ledger, outcomes, overlap, survival

ROOMS = ("recall", "prerank", "rank", "rerank")


def pairs(words):
    """``"a1 a2"`` is user a with items 1 and 2."""
    columns = {
        "user_id": [word[0] for word in words.split()],
        "item_id": [word[1:] for word in words.split()],
    }
    return pa.table(columns, pa.schema([("user_id", "string"), ("item_id", "string")]))


def room(kept, removed=""):
    """``removed`` words carry their reason: ``a3=quota``."""
    words = removed.split()
    table = pairs(" ".join([kept, *(word.split("=")[0] for word in words)]))
    reasons = [None] * len(kept.split()) + [word.split("=")[1] for word in words]
    table = table.append_column("kept", pa.array([reason is None for reason in reasons], pa.bool_()))
    return table.append_column("reason", pa.array(reasons, pa.string()))


def listed(words):
    table = pairs(words)
    return table.append_column("rank", pa.array(range(1, table.num_rows + 1), pa.int32()))


CASCADE = {
    "recall": room("a1 a2 a3 a4 a5", "a6=not_eligible a7=quota"),
    "prerank": room("a1 a2 a3 a4", "a5=prerank_cut"),
    "rank": room("a1 a2 a3", "a4=rank_cut"),
    "rerank": room("a1 a2", "a3=policy:cap:milk"),
}
USERS = pa.table({"user_id": ["a", "b"], "segment": ["s", None]})
ITEMS = pa.table({"item_id": [str(n) for n in range(10)]})
TRUTH = pairs("a1 a2 a3 a4 a5 a6 a7 a8 axx b1 c1 a1")


def by_hand():
    return outcomes(TRUTH, CASCADE, listed("a1"), USERS, ITEMS)


def test_every_outcome_by_hand():
    found = {row["user_id"] + row["item_id"]: row for row in by_hand().to_pylist()}
    assert {key: (row["stage_reached"], row["reason"]) for key, row in found.items()} == {
        "a1": ("shown", "shown"),
        "a2": ("recommendations", "not published"),
        "a3": ("rerank", "policy:cap:milk"),
        "a4": ("rank", "rank_cut"),
        "a5": ("prerank", "prerank_cut"),
        "a6": ("recall", "not_eligible"),
        "a7": ("recall", "quota"),
        "a8": ("none", "no channel proposed it"),
        "axx": ("none", "item unknown at the as-of"),
        "b1": ("none", "no channel proposed it"),
        "c1": ("none", "user unknown at the as-of"),
    }
    assert found["a1"]["position"] == 1
    assert found["a2"]["position"] is None
    assert (found["a1"]["segment"], found["b1"]["segment"], found["c1"]["segment"]) == ("s", None, None)


def test_ledger_counts_sum_to_the_truth_and_drop_details():
    found = ledger(by_hand(), ROOMS).to_pylist()
    assert sum(row["count"] for row in found) == 11
    assert sum(row["share"] for row in found) == pytest.approx(1)
    assert [row["stage_reached"] for row in found][:3] == ["none", "none", "none"]
    assert "policy:cap" in [row["reason"] for row in found]


def test_survival_multiplies_to_joint_recall():
    found = survival(by_hand(), ROOMS).to_pylist()
    assert [(row["received"], row["passed"]) for row in found] == [
        (11, 7),
        (7, 5),
        (5, 4),
        (4, 3),
        (3, 2),
        (2, 1),
    ]
    assert math.prod(row["survival"] for row in found) == pytest.approx(found[-1]["joint"]) == pytest.approx(1 / 11)


def test_what_a_room_never_received_has_vanished():
    rooms = CASCADE | {"rank": room("a1 a2", "a4=rank_cut"), "rerank": room("a1 a2")}
    found = {row["user_id"] + row["item_id"]: row for row in outcomes(TRUTH, rooms, listed("a1")).to_pylist()}
    assert (found["a3"]["stage_reached"], found["a3"]["reason"]) == ("rank", "vanished before rank")


@pytest.mark.parametrize(
    ("word", "passed"),
    [("b1", 0), ("a8", 0), ("a7", 1), ("a5", 2)],  # no channel proposed it; recall and prerank removed it
)
def test_what_a_pin_or_the_fallback_shows_passed_no_further_gate(word, passed):
    rooms = CASCADE | {"rerank": room(f"a1 {word}", "a2=policy:pin a3=policy:cap:milk")}
    found = outcomes(pairs(word), rooms, listed(f"a1 {word}"), USERS, ITEMS)
    row = found.to_pylist()[0]
    assert (row["stage_reached"], row["reason"], row["passed"], row["position"]) == ("shown", "shown", passed, 2)
    assert ledger(found, ROOMS).select(["stage_reached", "count"]).to_pylist() == [
        {"stage_reached": "shown", "count": 1}
    ]
    assert survival(found, ROOMS)["passed"].to_pylist() == [1] * passed + [0] * (6 - passed)


def test_the_gates_are_those_of_the_rooms_that_are_given():
    rooms = {"wide": CASCADE["recall"], "narrow": CASCADE["rerank"]}
    found = outcomes(TRUTH, rooms, listed("a1"), USERS, ITEMS)
    reached = {row["user_id"] + row["item_id"]: row["stage_reached"] for row in found.to_pylist()}
    assert (reached["a1"], reached["a2"], reached["a3"], reached["a4"]) == (
        "shown",
        "recommendations",
        "narrow",
        "narrow",
    )
    assert (reached["a6"], reached["a8"]) == ("wide", "none")
    assert (
        survival(found, rooms)["gate"].to_pylist() == list(gates(rooms)) == ["channels", "wide", "narrow", "published"]
    )


def test_no_truth_and_no_candidates():
    nothing = {name: table.slice(0, 0) for name, table in CASCADE.items()}
    assert outcomes(pairs(""), CASCADE, listed("a1")).num_rows == 0
    assert ledger(outcomes(pairs(""), CASCADE, listed("a1")), ROOMS).num_rows == 0
    assert survival(outcomes(TRUTH, nothing, listed("")), ROOMS)["passed"].to_pylist() == [0] * 6


def test_overlap_by_hand():
    pool = pairs("a1 a2 a3 a4 b1").append_column("x_rank", pa.array([1, 2, 3, 4, 1]))
    pool = pool.append_column("y_rank", pa.array([1, 3, 2, None, 1]))
    assert overlap(pool, "x_rank", "y_rank", 2) == pytest.approx((1 / 2 + 1) / 2)
    assert overlap(pool, "x_rank", "x_rank", 3) == 1
    assert overlap(pool, "x_rank", "y_rank", 2, without=pairs("a1 b1")) == pytest.approx(1)  # 2, 3 of a
    assert math.isnan(overlap(pool.slice(0, 0), "x_rank", "y_rank", 2))


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_ledger_and_survival_hold_for_any_cascade(data):
    words = {u + str(i) for u in "ab" for i in range(6)}
    alive, rooms = data.draw(st.sets(st.sampled_from(sorted(words)))), {}
    for name in ROOMS:
        kept = data.draw(st.sets(st.sampled_from(sorted(alive)))) if alive else set()
        rooms[name] = room(" ".join(sorted(kept)), " ".join(f"{word}=cut" for word in sorted(alive - kept)))
        alive = kept
    truth = data.draw(st.sets(st.sampled_from(sorted(words))))
    found = outcomes(pairs(" ".join(sorted(truth))), rooms, listed(" ".join(sorted(alive))))
    assert sum(ledger(found, ROOMS)["count"].to_pylist()) == found.num_rows == len(truth)
    rows = survival(found, ROOMS).to_pylist()
    assert rows[-1]["passed"] == len(truth & alive)
    assert all(a["passed"] == b["received"] for a, b in pairwise(rows))
    shown = [row for row in found.to_pylist() if row["stage_reached"] == "shown"]
    assert {row["user_id"] + row["item_id"] for row in shown} == truth & alive
    assert all((row["position"] is None) == (row["stage_reached"] != "shown") for row in found.to_pylist())


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), max_size=30))
def test_positions_agree_with_sorting(rows):
    user, rank = np.array([row[0] for row in rows], int), np.array([row[1] for row in rows], float)
    found = candidates.positions(user, rank)
    for one in set(user.tolist()):
        at = np.flatnonzero(user == one)
        wanted = sorted(at, key=lambda n: (rank[n], n))
        assert found[wanted].tolist() == list(range(1, len(at) + 1))


def test_find_pairs_and_heads():
    assert find_pairs(pairs("a1 b1 a9"), pairs("b1 a2 a1")).tolist() == [2, 0, -1]
    assert [head(text) for text in ("policy:cap:milk", "blocked: recalled item", "quota")] == [
        "policy:cap", "blocked", "quota",
    ]  # fmt: skip
