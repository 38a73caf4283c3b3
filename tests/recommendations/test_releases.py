"""Which release serves: why one is kept, what a second publication does, as-ofs of any grain, the way back."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
import serving
import sqlalchemy as sa
from serving import ASOF, publish

from narrows.asof import HOUR, Asof
from narrows.serving import reading, releases, schema


def shown(engine, user: str = "u0", n: int = 3) -> list[str]:
    return [row["item_id"] for row in reading.current(engine, user, n=n)]


def dump(engine) -> dict[str, list]:
    """Every row as text, but for when a release went live."""
    with engine.connect() as connection:
        rows = {t.name: sorted(map(str, connection.execute(sa.select(t)))) for t in schema.METADATA.sorted_tables}
    return {name: [re.sub(r", 'live_since': '[^']+'", "", row) for row in table] for name, table in rows.items()}


def test_a_new_release_replaces_the_live_one_and_can_be_rolled_back(engine):
    publish(engine, "r1")
    publish(engine, "r2", ASOF + timedelta(days=1), places={"u0": ["i5"]})
    assert shown(engine, n=1) == ["i5"]
    assert [row["state"] for row in serving.releases(engine)] == ["live", "kept"]
    assert releases.rollback(engine) == "r1"
    assert shown(engine) == ["i0", "i1", "i2"]
    with pytest.raises(releases.ReleaseError, match="no release is older than the live one; kept are: r2"):
        releases.rollback(engine)
    assert releases.rollback(engine, "r2") == "r2"
    assert shown(engine, n=1) == ["i5"]
    with pytest.raises(releases.ReleaseError, match="r9 is not a kept release; kept are: r1"):
        releases.rollback(engine, "r9")


def test_a_release_says_why_it_is_not_live(engine):
    publish(engine, "new", ASOF + timedelta(days=1))
    assert publish(engine, "old")["kept_because"] == "release new as of 2017-12-01 is newer"
    stale = publish(engine, "stale", ASOF + timedelta(days=9), hold="the source ends on 2017-12-02")
    assert (stale["live"], stale["kept_because"]) == (False, "the source ends on 2017-12-02")
    assert reading.state(engine, "old") == {"live": False, "kept_because": "release new as of 2017-12-01 is newer"}
    assert reading.state(engine, "stale") == {"live": False, "kept_because": "the source ends on 2017-12-02"}
    assert reading.state(engine, "new") == {"live": True, "kept_because": ""}
    assert "not in the serving database" in reading.state(engine, "gone")["kept_because"]
    assert publish(engine, "stale", ASOF + timedelta(days=9))["live"]  # the events have come
    assert reading.state(engine, "stale") == {"live": True, "kept_because": ""}
    assert reading.state(engine, "new")["kept_because"] == "release stale as of 2017-12-09 is live now"


def test_a_release_is_held_before_anything_is_live(engine):
    assert publish(engine, hold="the source ends on 2017-11-20")["live"] is False
    assert shown(engine) == []
    assert releases.ensure(engine, "r1")["live"] is True
    assert releases.ensure(engine, "r1", hold="the source ends on 2017-11-20")["live"] is True  # it stays


def writes(engine) -> list[str]:
    """Collects the statements that write rows of lists."""
    statements: list[str] = []

    @sa.event.listens_for(engine, "after_cursor_execute")
    def collect(connection, cursor, statement, *_):
        if statement.startswith(("INSERT", "DELETE")) and ("recommendation" in statement or "fallback" in statement):
            statements.append(statement)

    return statements


def test_publishing_a_whole_release_again_writes_no_list(engine):
    publish(engine, "r1")
    publish(engine, "r2", places={"u0": ["i5"]})  # of the same as-of: the policy was changed, and is changed back
    assert shown(engine, n=1) == ["i5"]
    inserts = writes(engine)
    again = releases.ensure(engine, "r1")
    assert (again["live"], again["swapped"]) == (True, True)
    assert publish(engine, "r1")["swapped"] is False
    assert not [statement for statement in inserts if statement.startswith("INSERT")]
    assert shown(engine) == ["i0", "i1", "i2"]


@pytest.mark.parametrize("table", ["recommendation", "fallback", "release"])
def test_what_was_lost_is_written_again(engine, table):
    first = publish(engine)
    before = dump(engine)
    with engine.begin() as connection:
        for name in [table] if table != "release" else ["recommendation", "fallback", "release"]:
            connection.execute(sa.delete(schema.METADATA.tables[name]))
    assert releases.ensure(engine, "r1") is None
    assert publish(engine) == first | {"swapped": table == "release"}
    assert dump(engine) == before


def test_a_lost_row_of_a_held_release_leaves_it_live(engine):
    publish(engine)
    with engine.begin() as connection:
        connection.execute(sa.delete(schema.recommendation).where(schema.recommendation.c.rank == 2))
    assert publish(engine, hold="the source ends on 2017-11-20")["live"] is True
    assert shown(engine) == ["i0", "i1", "i2"]


def test_as_ofs_of_any_grain_are_ordered_by_their_end(engine):
    publish(engine, "hour", Asof.parse("2017-11-30T13", HOUR))
    assert publish(engine, "day")["live"] is True  # it ends at midnight
    assert (
        publish(engine, "late", Asof.parse("2017-11-30T22", HOUR))["kept_because"]
        == "release day as of 2017-11-30 is newer"
    )
    assert publish(engine, "next", Asof.parse("2017-12-01T00", HOUR))["live"] is True
    assert [row["asof"] for row in serving.releases(engine)] == [
        "2017-12-01T00", "2017-11-30", "2017-11-30T22", "2017-11-30T13",
    ]  # fmt: skip
    assert releases.end_of("2017-12-01T13") == datetime(2017, 12, 1, 14, tzinfo=UTC)
    assert releases.end_of("2017-12-01T1330") == datetime(2017, 12, 1, 13, 31, tzinfo=UTC)
    with pytest.raises(ValueError, match="'yesterday' is not an as-of"):
        releases.end_of("yesterday")


def test_a_release_knows_since_when_it_is_live(engine):
    assert reading.live(engine) is None
    publish(engine)
    before = reading.live(engine)
    assert before is not None
    assert before == {
        "release_id": "r1", "asof": "2017-11-30", "created_at": serving.MADE, "live_since": before["live_since"],
    }  # fmt: skip
    assert timedelta(0) <= datetime.now(UTC) - before["live_since"] < timedelta(minutes=1)
    with engine.begin() as connection:
        connection.execute(sa.delete(schema.recommendation).where(schema.recommendation.c.rank == 2))
    publish(engine)
    assert reading.live(engine) == before  # it was live all the time
    with engine.begin() as connection:  # a release that an earlier version made live
        connection.execute(sa.update(schema.release).values(manifest={}))
    assert reading.live(engine) == before | {"live_since": None}


OLD_VIEWS = """
CREATE VIEW current_recommendation AS SELECT recommendation.scene, recommendation.user_id, recommendation.rank,
recommendation.item_id, recommendation.score, recommendation.propensity, recommendation.reason, release.release_id
FROM recommendation JOIN release ON release.release_id = recommendation.release_id WHERE release.state = 'live';
CREATE VIEW current_fallback AS SELECT fallback.scene, fallback.segment, fallback.rank, fallback.item_id, fallback.score,
release.release_id FROM fallback JOIN release ON release.release_id = fallback.release_id WHERE release.state = 'live';
"""


def test_the_views_of_an_earlier_version_are_replaced_where_a_list_is_read(database):
    engine = database
    publish(engine)
    now = reading.current(engine, "u1", n=4)
    with engine.begin() as connection:
        for name in ("VIEW current_recommendation", "VIEW current_fallback", "VIEW current_list", "TABLE reason"):
            connection.exec_driver_sql(f"DROP {name}")
        for statement in filter(str.strip, OLD_VIEWS.split(";")):
            connection.exec_driver_sql(statement)
        connection.exec_driver_sql("CREATE VIEW mine AS SELECT item_id FROM current_recommendation")  # reads ours
        assert len(schema.outdated(connection)) == 3
    reader = schema.open_published(engine.url.render_as_string(hide_password=False))
    assert reading.current(reader, "u1", n=4) == now
    with reader.connect() as connection:
        assert schema.outdated(connection) == []
        assert len(connection.exec_driver_sql("SELECT * FROM mine").all()) == 5
    reader.dispose()


def test_a_database_of_an_earlier_version_opens(tmp_path):
    """Its as-of column was a DATE, and its manifests do not count rows."""
    engine = schema.open_engine(f"sqlite:///{tmp_path}/old.db")
    with engine.begin() as connection:
        old = schema.ddl("sqlite").replace("asof VARCHAR", "asof DATE")
        assert "asof DATE" in old
        for statement in filter(str.strip, old.split(";")):
            connection.exec_driver_sql(statement)
        connection.exec_driver_sql(
            "INSERT INTO release VALUES ('old', '2017-12-01 03:00:00.000000', '2017-11-30', 'live', NULL, '{}')"
        )
    schema.create(engine)
    assert releases.ensure(engine, "old") is None
    assert publish(engine, "older", ASOF - timedelta(days=1))["kept_because"] == "release old as of 2017-11-30 is newer"
    assert publish(engine, "new", Asof.parse("2017-12-01T13", HOUR))["live"] is True
    assert [row["asof"] for row in serving.releases(engine)] == ["2017-12-01T13", "2017-11-30", "2017-11-29"]
    engine.dispose()
