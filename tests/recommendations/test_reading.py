"""What a service reads: the live list, without what was taken down, filled up where it is short."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
import serving
import sqlalchemy as sa
from serving import ASOF, MADE, publish

from narrows.asof import Asof
from narrows.serving import reading, releases, schema


def items(engine, *args, **named) -> list[str]:
    return [row["item_id"] for row in reading.current(engine, *args, **named)]


def test_the_list_and_what_fills_it_up(engine):
    publish(engine)
    rows = reading.current(engine, "u1", n=4)
    assert [(row["rank"], row["item_id"], row["reason"]) for row in rows] == [
        (1, "i3", "popular"), (2, "i4", "popular"), (3, "i2", "fallback"), (4, "i1", "fallback"),
    ]  # fmt: skip
    assert rows[0] == {
        "rank": 1, "item_id": "i3", "score": 1.0, "propensity": 1.0, "reason": "popular", "release_id": "r1",
    }  # fmt: skip
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
        for table in ("release", "recommendation", "fallback", "takedown"):
            assert f"CREATE TABLE {table} (" in text
        assert "CREATE VIEW current_recommendation AS SELECT" in text
    assert [c.name for c in schema.current_recommendation.c] == [
        "scene", "user_id", "rank", "item_id", "score", "propensity", "reason", "release_id",
    ]  # fmt: skip
