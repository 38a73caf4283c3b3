"""What an undo cancels: the rule by example, against plain Python, and as different as-ofs know it."""

from __future__ import annotations

import random

import polars as pl
import pytest

from narrows.engine.undo import UNDONE_AT, UNDONE_KNOWN, with_undone


def frame(rows: list[tuple]) -> pl.DataFrame:
    """Rows of (user, item, kind, happened, known)."""
    columns = ["user_id", "item_id", "kind", "second", "known_at"]
    made = pl.DataFrame([(u, i, k, float(s), float(n)) for u, i, k, s, n in rows], columns, orient="row")
    return made.with_columns(event_type=pl.lit("t"), session_id=pl.int_range(pl.len()).cast(pl.String).str.zfill(4))


def cancelled(rows: list[tuple]) -> dict[int, tuple[float, float]]:
    """By row of a positive: when it was undone, and when that was known."""
    out = with_undone(frame(rows))
    assert out["session_id"].to_list() == [f"{n:04}" for n in range(len(rows))], "the rows keep their order"
    return {
        n: (at, known)
        for n, (at, known) in enumerate(out.select(UNDONE_AT, UNDONE_KNOWN).iter_rows())
        if at is not None
    }


def p(at: float, known: float | None = None, item: str = "x", kind: str = "positive") -> tuple:
    return ("u", item, kind, at, at if known is None else known)


def undo(at: float, known: float | None = None, item: str = "x") -> tuple:
    return p(at, known, item, "undo")


@pytest.mark.parametrize(
    ("rows", "gone"),
    [
        ([p(1), undo(2)], {0: (2, 2)}),
        ([p(1), p(2), undo(3)], {1: (3, 3)}),
        ([p(1), p(4), undo(3)], {0: (3, 3)}),
        ([p(1), p(2), undo(3), undo(4)], {1: (3, 3), 0: (4, 4)}),
        ([undo(2)], {}),
        ([undo(2), p(3)], {}),
        ([p(1), undo(2), undo(3)], {0: (2, 2)}),
        ([p(1, item="y"), undo(2)], {}),
        ([undo(1), p(1)], {1: (1, 1)}),
        ([p(1, kind="context"), p(1, kind="exposure"), undo(2)], {}),
        ([undo(5), p(3, known=9)], {1: (5, 9)}),
        ([p(1), undo(5, known=6), p(3, known=9)], {0: (5, 6)}),
    ],
    ids=[
        "one", "the latest", "not a later one", "one each", "without a positive", "before it", "one too many",
        "another item", "of one instant", "only positives", "a late positive", "a match stays",
    ],
)  # fmt: skip
def test_what_an_undo_cancels(rows, gone):
    assert cancelled(rows) == gone


@pytest.mark.parametrize("seed", range(20))
def test_what_arrives_later_never_changes_what_was_known(seed):
    rng = random.Random(seed)
    rows = []
    for _ in range(60):
        at = rng.randrange(30)
        kind = rng.choice(["positive", "positive", "undo", "context"])
        rows.append((f"u{rng.randrange(3)}", f"i{rng.randrange(2)}", kind, at, at + rng.choice([0, 0, 7])))
    whole = cancelled(rows)
    assert whole
    for asof in (5, 12, 25):
        numbers = [n for n, row in enumerate(rows) if row[4] <= asof]
        then = cancelled([rows[n] for n in numbers])
        known = {n: at for n, (at, known) in whole.items() if known <= asof}
        assert {numbers[n]: at for n, (at, _) in then.items()} == known
    assert len(whole) <= sum(row[2] == "undo" for row in rows)


def test_the_order_of_the_rows_does_not_matter():
    rng = random.Random(1)
    rows = [("u", "x", rng.choice(["positive", "undo"]), rng.randrange(5), rng.randrange(5, 9)) for _ in range(40)]
    one = frame(rows)
    mixed = one.sample(fraction=1, shuffle=True, seed=3)
    key = "session_id"
    assert with_undone(one).sort(key).equals(with_undone(mixed).sort(key))
