"""One item and one list in plain words."""

import pyarrow as pa
import pytest

from narrows.cli.lists import explain
from narrows.reasons import of_rooms
from stages import PIPELINE

USERS = pa.table(
    {
        "user_id": ["1"],
        "history_item": [["x", "q"]],
        "history_count": [[2, 1]],
        "history_last_days": [[0.5, 21.9]],
        "segment": ["s"],
    }
)
REASONS = of_rooms(PIPELINE)
ITEMS = pa.table({"item_id": ["x", "y", "z", "w", "q", "v"], "title": ["Milk", None, None, None, None, None]})


def room(rows, **more):
    """Rows of (item, kept, reason)."""
    table = {"user_id": ["1"] * len(rows), "item_id": [r[0] for r in rows], "kept": [r[1] for r in rows]}
    return pa.table(table | {"reason": pa.array([r[2] for r in rows], pa.string())} | more)


TABLES = {
    "user_profiles": USERS,
    "item_profiles": ITEMS,
    "recall": room(
        [("x", True, None), ("y", True, None), ("z", False, "quota"), ("q", True, None), ("v", True, None)],
        own_score=[3.5, None, None, 1.0, None], own_rank=pa.array([1, None, None, 2, None], pa.int32()),
        popular_1x_score=[None, 7.0, 6.0, None, 5.0], popular_1x_rank=pa.array([None, 1, 2, None, 3], pa.int32()),
        recall_score=[0.9, 0.8, 0.1, 0.7, 0.5], recall_rank=[1, 2, 5, 3, 4],
    ),
    "prerank": room(
        [("x", True, None), ("y", True, None), ("q", True, None), ("v", False, "prerank_cut")],
        prerank_score=[0.9, 0.8, 0.7, 0.6], prerank_rank=[1, 2, 3, 4],
    ),
    "rank": room([("x", True, None), ("y", True, None), ("q", True, None)], rank_score=[0.3, 0.2, 0.1]),
    "rerank": room(
        [("x", True, "because_history"), ("y", False, "policy:cap:DAIRY"), ("q", True, "explore")],
        rank=pa.array([1, None, 2], pa.int32()), score=[0.3, 0.2, 0.1],
    ),
    "recommendations": pa.table(
        {"user_id": ["1"], "rank": [1], "item_id": ["x"], "score": [0.3], "propensity": [0.95]}
        | {"reason": ["because_history"]}
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ("x", ["user 1 · item x · Milk",
               "history   user 1 took this item on 2 days, last on the last day of the as-of",
               "channels  proposed by own at place 1 of 2 (score 3.5); not by popular_1x",
               "recall    put it at place 1 of 5 (score 0.9); kept, with 3 others",
               "rerank    put it at position 1 of the list of 2: the user has had it before (because_history)",
               "       shown at position 1 of 1: the user has had it before (because_history). Its probability",
               "of being there was 0.95"]),
        ("y", ["history   new to user 1", "channels  proposed by popular_1x at place 1 of 3 (score 7); not by own",
               "rerank    left it out of the list of 2: its category had filled its places (policy:cap:DAIRY)",
               "       not shown: rerank removed it: its category had filled its places (policy:cap:DAIRY)"]),
        ("z", ["recall    put it at place 5 of 5 (score 0.1) and removed it: recalled, but outside the quota",
               "       not shown: recall removed it: recalled, but outside the quota of the merge (quota)"]),
        ("v", ["prerank   put it at place 4 of 4 (score 0.6); the cut is at 3",
               "       not shown: prerank removed it: not among the best by prerank's score (prerank_cut)"]),
        ("q", ["user 1 took this item on 1 day, last 21 days ago",
               "       not shown: rerank kept it, but it is not in the published list"]),
        ("w", ["       not shown: no channel proposed it (this user had 5 candidates)"]),
        ("nothing", ["item      item nothing was not in the catalogue at the as-of", "       not shown"]),
    ],
)  # fmt: skip
def test_why(item, words):
    said = "\n".join(explain.words(explain.trace("1", item, TABLES, REASONS)))
    assert all(each in said for each in words), said


def test_an_unknown_user():
    said = "\n".join(explain.words(explain.trace("nobody", "x", TABLES, REASONS)))
    assert "user      user nobody had done nothing by the as-of" in said
    assert "       no list of their own; the fallback list applies" in said


@pytest.mark.parametrize(
    ("user", "item", "served", "words"),
    [
        ("nobody", "x", {"fallback": 3},
         "no list of their own; the fallback list applies, and shows it now at position 3"),
        ("nobody", "x", {"fallback": 0},
         "no list of their own; the fallback list applies, and does not show it now"),
        ("1", "y", {"fallback": 2}, "shown now at position 2, where the fallback list fills up theirs"),
        ("1", "x", {"taken_down": "recalled"},
         "taken down: recalled; no reader sees it. The run had put it at position 1 of 1"),
        ("1", "y", {"taken_down": ""}, "taken down; no reader sees it"),
        ("nobody", "x", {"taken_down": ""}, "taken down; no reader sees it"),
    ],
)  # fmt: skip
def test_the_verdict_agrees_with_what_is_served(user, item, served, words):
    assert explain.words(explain.trace(user, item, TABLES, REASONS) | served, 200)[-1].split("=>")[1].strip() == words


def test_lines_fit_the_width():
    for width in (60, 80, 100):
        said = explain.words(explain.trace("1", "x", TABLES, REASONS), width)
        assert all(len(line) <= width for line in said)
    assert said[0] == "user 1 · item x · Milk"


def test_reasons_without_a_meaning_are_said_as_they_are():
    tables = TABLES | {"recall": room([("z", False, "my_rule")]), "recommendations": TABLES["recommendations"]}
    said = "\n".join(explain.words(explain.trace("1", "z", tables, REASONS)))
    assert "recall    had 1 candidates and removed it: my_rule" in said
