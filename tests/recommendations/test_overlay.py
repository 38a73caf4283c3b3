"""New lists for some users in a release that serves: laid over it at once, once, and in the order of time."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
import sqlalchemy as sa
from serving import ASOF, ITEMS, MADE, USERS, WEEK, publish, release

from narrows.serving import reading, schema
from narrows.serving.gates import GateError
from narrows.serving.overlay import overlay
from narrows.stage import Asof
from narrows.store.table import Table
from narrows.store.write import write_table
from stages.recommendations import lists
from stages.recommendations.fallback import fallback_lists

DAY = timedelta(days=1)


def lay(engine: Any, version: str, asof: Asof, places: dict[str, list[str]], **changes: Any) -> dict[str, Any] | None:
    rows, fallback = release("r1", asof, places)
    rows = rows if places else rows.slice(0, 0)
    given = {"asof": asof, "created_at": MADE + (asof - ASOF), "clock": "asof", **changes}
    return overlay(engine, "r1", version, lambda: iter([rows]), changes.pop("fallback", fallback), **given)


def shown(engine: Any, user: str) -> list[str]:
    return [row["item_id"] for row in reading.current(engine, user, n=3) if not row["is_fallback"]]


def test_touched_users_get_new_lists_and_the_others_keep_theirs(database):
    publish(database, "r1", ASOF)
    notes = lay(database, "v1", ASOF + DAY, {"u0": ["i5"], "u2": ["i4", "i3"]})
    assert notes
    assert (notes["rows"], notes["live"], notes["swapped"]) == (5, True, False)
    assert [shown(database, user) for user in ("u0", "u1", "u2")] == [["i5"], ["i3", "i4"], ["i4", "i3"]]
    live = reading.live(database)
    assert live
    assert (live["asof"], live["serves_at"]) == (str(ASOF + DAY), (ASOF + DAY).end)
    assert lay(database, "v1", ASOF + DAY, {"u1": ["i0"]}) == notes, "laid over once"
    assert shown(database, "u1") == ["i3", "i4"]


def test_all_fallback_lists_are_new_even_where_nobody_was_touched(engine):
    publish(engine, "r1", ASOF)
    items = ITEMS.set_column(1, "users_1x", pa.array([9, 1, 3, 3, 2, 0], pa.int32()))
    other = fallback_lists(items, USERS, items["item_id"].combine_chunks(), "1x", "home", 2)
    notes = overlay(
        engine, "r1", "v1", lambda: iter([]), other, asof=ASOF + DAY, created_at=MADE + DAY, clock="asof"
    )  # fmt: skip
    assert notes
    assert (notes["rows"], notes["fallback_rows"]) == (5, other.num_rows)
    assert [row["item_id"] for row in reading.current(engine, "nobody", n=1)] == ["i0"]


def test_an_earlier_instant_does_not_displace_a_later_one(engine):
    publish(engine, "r1", ASOF)
    lay(engine, "v2", ASOF + 2 * DAY, {"u0": ["i5"]})
    notes = lay(engine, "v1", ASOF + DAY, {"u0": ["i4"]})
    assert notes
    assert notes["live"] is False
    assert "newer" in notes["kept_because"]
    assert shown(engine, "u0") == ["i5"]


def test_three_that_come_at_once_leave_what_each_in_its_time_would_have(tmp_path):
    """After an outage they are laid over in order, all of them late: the same rows at every step, and the last one's at the end."""
    in_time, late = (schema.open_engine(f"sqlite:///{tmp_path}/{name}.db") for name in ("in_time", "late"))
    steps = [
        (ASOF + DAY, {"u0": ["i5"], "u2": ["i1"]}),
        (ASOF + 2 * DAY, {"u2": ["i4", "i3"]}),
        (ASOF + WEEK, {"u3": ["i2"]}),
    ]
    now = MADE + WEEK
    for engine in (in_time, late):
        schema.create(engine)
        publish(engine, "r1", ASOF, clock="auto")
    for number, (asof, places) in enumerate(steps):
        assert lay(in_time, f"v{number}", asof, places, clock="auto")
        assert lay(late, f"v{number}", asof, places, clock="auto", created_at=now)
        assert rows(late) == rows(in_time)
        assert reading.live(late)["asof"] == str(asof)
    assert {user: batch for user, batch, _ in rows(late)} == {
        "u0": str(ASOF + DAY), "u2": str(ASOF + 2 * DAY), "u3": str(ASOF + WEEK),
    }  # fmt: skip
    assert "u1" not in {user for user, _, _ in rows(late)}, "its list of before has expired: the fallback serves"
    for engine in (in_time, late):
        engine.dispose()


def rows(engine: Any) -> list[tuple[str, str, str]]:
    columns = schema.recommendation.c
    with engine.connect() as connection:
        found = connection.execute(sa.select(columns.user_id, columns.batch_id, columns.item_id))
        return sorted(tuple(row) for row in found)


def test_lists_that_expired_are_dropped(engine):
    publish(engine, "r1", ASOF)
    notes = lay(engine, "v1", ASOF + WEEK, {"u0": ["i5"]})
    assert notes
    assert notes["rows"] == 1
    assert shown(engine, "u1") == []


def test_a_release_that_is_not_there_whole_has_to_be_published(engine):
    assert lay(engine, "v1", ASOF, {"u0": ["i5"]}) is None
    publish(engine, "r1", ASOF)
    with engine.begin() as connection:
        connection.execute(sa.delete(schema.recommendation).where(schema.recommendation.c.user_id == "u1"))
    assert lay(engine, "v1", ASOF + DAY, {"u0": ["i5"]}) is None


def test_a_failed_gate_changes_nothing(engine):
    publish(engine, "r1", ASOF)
    with pytest.raises(GateError, match="blocked or taken-down items"):
        lay(engine, "v1", ASOF + DAY, {"u0": ["i5"]}, forbidden={"i5"})
    assert shown(engine, "u0") == ["i0", "i1", "i2"]


def test_the_partition_holds_the_new_lists_and_those_that_go_on(tmp_path):
    before, fallback = release("r1", ASOF, {"u0": ["i0"], "u1": ["i1"], "u2": ["i2"]})
    gone = before["user_id"].combine_chunks()
    at = pa.array(
        [ASOF.end if user == "u2" else ASOF.end + WEEK for user in gone.to_pylist()], pa.timestamp("us", "UTC")
    )
    before = before.set_column(before.column_names.index("expires_at"), "expires_at", at)
    write_table(before, tmp_path / "data")
    write_table(fallback, tmp_path / "fallback")
    table = Table("recommendations", ASOF, "v", tmp_path, {})
    new, _ = release("r1", ASOF + DAY, {"u0": ["i5"]})
    rows = pa.concat_tables(lists.laid_over([new], table, ASOF + DAY))
    assert rows.select(["user_id", "item_id"]).to_pylist() == [
        {"user_id": "u0", "item_id": "i5"}, {"user_id": "u1", "item_id": "i1"},
    ]  # fmt: skip
    offered = lists.offered_before(pa.array(["i5"]), {"i1"}, table)
    assert set(offered.to_pylist()) == {"i0", "i2", "i5", *pc.unique(fallback["item_id"]).to_pylist()} - {"i1"}
