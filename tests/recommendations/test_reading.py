"""What a service reads: the live list, without what was taken down, filled up where it is short."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
import serving
import sqlalchemy as sa
from serving import ASOF, MADE, publish

from narrows.asof import Asof
from narrows.serving import reading, releases, schema

EXPIRES = datetime(2017, 12, 8, tzinfo=UTC)
COLUMNS = [
    "scene", "user_id", "rank", "item_id", "score", "propensity", "reason", "reason_text", "release_id", "asof",
    "expires_at", "segment", "is_fallback",
]  # fmt: skip


def items(engine, *args, **named) -> list[str]:
    return [row["item_id"] for row in reading.current(engine, *args, **named)]


def test_the_list_and_what_fills_it_up(engine):
    publish(engine)
    rows = reading.current(engine, "u1", n=4)
    assert [(row["rank"], row["item_id"], row["reason"]) for row in rows] == [
        (1, "i3", "popular"), (2, "i4", "popular"), (3, "i2", "fallback"), (4, "i1", "fallback"),
    ]  # fmt: skip
    same = {"scene": "home", "user_id": "u1", "release_id": "r1", "asof": "2017-11-30", "propensity": 1.0}
    assert rows[0] == same | {
        "rank": 1, "item_id": "i3", "score": 1.0, "reason": "popular", "reason_text": None,
        "expires_at": EXPIRES, "segment": None, "is_fallback": False,
    }  # fmt: skip
    assert rows[2] == same | {
        "rank": 3, "item_id": "i2", "score": 1.0, "reason": "fallback", "reason_text": None,
        "expires_at": None, "segment": "all", "is_fallback": True,
    }  # fmt: skip
    assert list(rows[0]) == COLUMNS
    assert items(engine, "u0", n=2) == ["i0", "i1"]
    assert items(engine, "u0", n=5) == ["i0", "i1", "i2", "i5", "i3"]  # first the fallback of the young


def test_unknown_users_get_their_segments_fallback_or_everyones(engine):
    publish(engine)
    assert items(engine, "nobody", n=3) == ["i3", "i2", "i4"]
    assert items(engine, "nobody", n=3, segment="young") == ["i0", "i5", "i1"]
    assert items(engine, "nobody", n=3, segment="of no list") == ["i3", "i2", "i4"]
    assert items(engine, "u0", "cart") == []


def test_an_expired_list_is_not_shown(engine):
    publish(engine, clock="wall")
    assert {row["reason"] for row in reading.current(engine, "u0", n=3)} == {"fallback"}
    assert items(engine, "u0", n=2) == ["i0", "i5"]  # the young's
    with engine.connect() as connection:
        assert connection.execute(sa.select(schema.current_recommendation)).all() == []


def test_a_list_in_its_time_is_shown_by_the_clock_of_the_database(engine):
    with engine.connect() as connection:
        now = datetime.fromisoformat(connection.exec_driver_sql("select current_timestamp || '+00:00'").scalar_one())
    yesterday = Asof.parse(str(now.date() - timedelta(days=1)))
    publish(engine, "today", yesterday, created_at=now, clock="wall")
    assert items(engine, "u0", n=3) == ["i0", "i1", "i2"]


def test_a_takedown_holds_at_the_next_read_everywhere(engine):
    publish(engine)
    publish(engine, "r2", ASOF + timedelta(days=1))
    reading.takedown(engine, "i1", "recalled", MADE)
    reading.takedown(engine, "i1", "recalled by the maker", MADE + timedelta(days=1))
    assert items(engine, "u0", n=3) == ["i0", "i2", "i5"]
    assert reading.taken_down(engine) == {"i1": "recalled by the maker"}
    assert "i1" not in items(engine, "nobody", n=6, segment="young")
    releases.rollback(engine)
    assert items(engine, "u0", n=2) == ["i0", "i2"]
    with engine.connect() as connection:
        row = connection.execute(sa.select(schema.takedown)).one()
    assert tuple(row) == ("i1", MADE, "recalled by the maker")
    assert reading.put_back(engine, "i1")
    assert not reading.put_back(engine, "i1")
    assert items(engine, "u0", n=2) == ["i0", "i1"]


def test_an_empty_database_has_no_lists_and_is_made_once(engine):
    assert reading.current(engine, "u0") == []
    schema.create(engine)


def test_values_are_bound_not_pasted(engine):
    publish(engine)
    assert items(engine, "u0' or '1'='1", "home' --", n=3) == []
    reading.takedown(engine, "x'); drop table takedown; --", "'", MADE)
    assert len(serving.releases(engine)) == 1


def test_an_instant_needs_a_zone(engine):
    with pytest.raises(sa.exc.StatementError, match="has no time zone"):
        reading.takedown(engine, "i1", "", datetime(2017, 1, 1))


def merged(engine, user_id, scene, n, segment) -> list[tuple]:
    """What the statement says, in plain words: the user's list, then the segment's fallback, then everyone's."""
    with engine.connect() as connection:
        own, fallback, lists = (
            [dict(row) for row in connection.execute(sa.select(view)).mappings()]
            for view in (schema.current_recommendation, schema.current_fallback, schema.current_list)
        )
    mine = [row for row in lists if (row["scene"], row["user_id"]) == (scene, user_id)]
    segment = segment or (mine[0]["segment"] if mine else None)
    parts = [[row for row in own if (row["scene"], row["user_id"]) == (scene, user_id)]]
    parts += [[row for row in fallback if (row["scene"], row["segment"]) == (scene, each)] for each in (segment, "all")]
    listed = {}
    for part in parts:
        for row in sorted(part, key=lambda row: row["rank"]):
            listed.setdefault(row["item_id"], (row["score"], row.get("reason", "fallback"), row["segment"]))
    return [(item, *rest) for item, rest in listed.items()][:n]


USERS_ASKED = ("u0", "u1", "u2", "nobody", "", "'")
SEGMENTS_ASKED = (None, "", "young", "old", "all", "of no list")


@pytest.mark.parametrize("clock", ["asof", "wall"])
@pytest.mark.parametrize("gone", [(), ("i3",), ("i0", "i2", "i5"), tuple(f"i{n}" for n in range(6))])
def test_the_statement_merges_list_and_fallbacks(database, clock, gone):
    publish(database, clock=clock)
    for item in gone:
        reading.takedown(database, item, "", MADE)
    lengths = set()
    for user, segment, scene in product(USERS_ASKED, SEGMENTS_ASKED, ("home", "cart")):
        for n in (0, 1, 3, 20):
            rows = reading.current(database, user, scene, n, segment)
            got = [(row["item_id"], row["score"], row["reason"], row["segment"]) for row in rows]
            assert got == merged(database, user, scene, n, segment)
            assert [row["rank"] for row in rows] == list(range(1, len(rows) + 1))
            assert all(row["is_fallback"] is (row["reason"] == "fallback") for row in rows)
            lengths.add(len(rows))
    assert max(lengths) == 6 - len(gone)


def test_the_statement_is_read_by_key(engine):
    publish(engine)
    with engine.connect() as connection:
        asked = {"user_id": "u0", "scene": "home", "segment": None, "n": 3}
        plan = [row[3] for row in connection.execute(sa.text(f"explain query plan {reading.CURRENT}"), asked)]
    lists = [step for step in plan if "recommendation" in step]
    assert lists
    assert all("USING PRIMARY KEY (release_id=? AND scene=? AND user_id=?" in step for step in lists), plan
    fallbacks = [step for step in plan if "fallback USING" in step]
    assert len(fallbacks) == 2
    assert all("USING PRIMARY KEY (release_id=? AND scene=? AND segment=?)" in step for step in fallbacks), plan
    assert not any("SCAN" in step and ("recommendation" in step or "fallback" in step) for step in plan), plan


def test_the_view_is_looked_up_by_key(engine):
    publish(engine)
    query = "explain query plan select * from current_recommendation where scene = 'home' and user_id = 'u0'"
    with engine.connect() as connection:
        plan = [row[3] for row in connection.exec_driver_sql(query)]
    assert any("SEARCH recommendation USING PRIMARY KEY (release_id=? AND scene=? AND user_id=?)" in p for p in plan)
    assert not any(p.startswith("SCAN recommendation") for p in plan)


def test_the_schema_is_the_designs_on_both_databases():
    for dialect in ("sqlite", "postgresql"):
        text = schema.ddl(dialect)
        for table in ("release", "recommendation", "fallback", "takedown", "reason"):
            assert f"CREATE TABLE {table} (" in text
        assert "CREATE VIEW current_recommendation AS SELECT" in text
        assert "CREATE VIEW current_list AS SELECT" in text
    assert [c.name for c in schema.current_recommendation.c] == [
        "scene", "user_id", "rank", "item_id", "score", "propensity", "reason", "release_id", "asof", "expires_at",
        "segment",
    ]  # fmt: skip
    assert [c.name for c in schema.current_fallback.c] == [
        "scene", "segment", "rank", "item_id", "score", "release_id", "asof",
    ]  # fmt: skip
