"""One item and one list in plain words."""

import pyarrow as pa
import pytest

from narrows.cli import explain

USERS = pa.table(
    {
        "user_id": ["1"],
        "history_item": [["x"]],
        "history_count": [[2]],
        "history_last_days": [[0.5]],
        "segment": ["s"],
    }
)
ITEMS = pa.table({"item_id": ["x", "y", "z", "w", "q"], "title": ["Milk", None, None, None, None]})


def room(rows, **more):
    """Rows of (item, kept, reason)."""
    table = {"user_id": ["1"] * len(rows), "item_id": [r[0] for r in rows], "kept": [r[1] for r in rows]}
    return pa.table(table | {"reason": pa.array([r[2] for r in rows], pa.string())} | more)


TABLES = {
    "user_profiles": USERS,
    "item_profiles": ITEMS,
    "recall": room(
        [("x", True, None), ("y", True, None), ("z", False, "quota"), ("q", True, None)],
        own_score=[3.5, None, None, 1.0], own_rank=pa.array([1, None, None, 2], pa.int32()),
        popular_7d_score=[None, 7.0, 6.0, None], popular_7d_rank=pa.array([None, 1, 2, None], pa.int32()),
        recall_score=[0.9, 0.8, 0.1, 0.7], recall_rank=[1, 2, 4, 3],
    ),
    "prerank": room([("x", True, None), ("y", True, None), ("q", True, None)], prerank_score=[0.9, 0.8, 0.7]),
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
        ("x", ["user 1 · item x · Milk", "on 2 days, the last 0.5 days",
               "own (score 3.5, rank 1) · not popular_7d",
               "rerank    kept (score 0.3, rank 1), of 3 candidates",
               "=> shown at position 1 of 1, reason because_history, shown with probability 0.95"]),
        ("y", ["new to the user", "policy:cap:DAIRY (its category had filled its places)",
               "=> not shown: rerank removed it"]),
        ("z", ["=> not shown: recall removed it, quota"]),
        ("q", ["=> not shown: rerank kept it, but it is not in the published list"]),
        ("w", ["=> not shown: no channel proposed it (this user had 4 candidates)"]),
        ("nothing", ["item nothing was not in the catalogue at the as-of", "=> not shown"]),
    ],
)  # fmt: skip
def test_why(item, words):
    said = "\n".join(explain.words(explain.trace("1", item, TABLES)))
    assert all(each in said for each in words), said


def test_an_unknown_user():
    said = "\n".join(explain.words(explain.trace("nobody", "x", TABLES)))
    assert "user nobody had done nothing by the as-of" in said
    assert "=> no list of their own; the fallback list applies" in said


@pytest.mark.parametrize(
    ("user", "item", "served", "words"),
    [
        ("nobody", "x", {"fallback": 3},
         "=> no list of their own; the fallback list applies, and shows it now at position 3"),
        ("nobody", "x", {"fallback": 0},
         "=> no list of their own; the fallback list applies, and does not show it now"),
        ("1", "y", {"fallback": 2}, "=> shown now at position 2, where the fallback list fills up theirs"),
        ("1", "x", {"taken_down": "recalled"},
         "=> taken down: recalled; no reader sees it. The run had put it at position 1 of 1"),
        ("1", "y", {"taken_down": ""}, "=> taken down; no reader sees it"),
        ("nobody", "x", {"taken_down": ""}, "=> taken down; no reader sees it"),
    ],
)  # fmt: skip
def test_the_verdict_agrees_with_what_is_served(user, item, served, words):
    assert explain.words(explain.trace(user, item, TABLES) | served)[-1].strip() == words


def test_show():
    said = explain.show("1", [row | {"title": "Milk"} for row in TABLES["recommendations"].to_pylist()]).split("\n")
    assert said[2].split() == ["1", "x", "Milk", ".3000", ".9500", "because_history"]
    assert "fallback" in explain.show("2", [])
    assert all(len(line) <= 100 for line in said)


def test_reasons_without_a_meaning_are_said_as_they_are():
    assert explain.with_meaning("my_rule") == "my_rule"
    assert explain.with_meaning(None) == "no reason given"
    assert explain.with_meaning("quotation") == "quotation"  # a code matches whole
