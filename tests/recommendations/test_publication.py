"""Stage, gate, swap, roll back: nothing half-done is ever readable."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest
import serving
import sqlalchemy as sa
from serving import ASOF, MADE, many, publish, release

from narrows.serving import gates, publication, reading, releases, schema
from narrows.serving.gates import GateError


def shown(engine, user: str = "u0", n: int = 3) -> list[str]:
    return [row["item_id"] for row in reading.current(engine, user, n=n)]


def dump(engine) -> dict[str, list]:
    with engine.connect() as connection:
        return {t.name: sorted(map(str, connection.execute(sa.select(t)))) for t in schema.METADATA.sorted_tables}


def test_publishing_again_changes_nothing(engine):
    first = publish(engine)
    before = dump(engine)
    assert publish(engine, created_at=MADE + timedelta(days=1)) == first | {"swapped": False}
    assert dump(engine) == before
    assert first == {
        "release_id": "r1", "rows": 5, "fallback_rows": 9, "taken_down": 0, "live": True, "kept_because": "",
        "swapped": True, "collected": [],
    }  # fmt: skip


def test_an_older_release_does_not_displace_a_newer_one(engine):
    publish(engine, "new")
    assert publish(engine, "old", ASOF - timedelta(days=7), places={"u0": ["i5"]})["live"] is False
    assert shown(engine) == ["i0", "i1", "i2"]
    assert releases.rollback(engine) == "old"


def test_old_releases_are_collected_by_count(engine):
    collected = [publish(engine, f"r{day}", ASOF + timedelta(days=day), keep=2)["collected"] for day in range(5)]
    assert collected == [[], [], [], ["r0"], ["r1"]]
    assert [row["release_id"] for row in serving.releases(engine)] == ["r4", "r3", "r2"]
    with engine.connect() as connection:
        assert set(connection.scalars(sa.select(schema.recommendation.c.release_id))) == {"r2", "r3", "r4"}


def test_taken_down_items_leave_a_new_release_and_ranks_close_up(engine):
    reading.takedown(engine, "i0", "recall of the maker", MADE)
    assert publish(engine)["taken_down"] == 1
    with engine.connect() as connection:
        rows = connection.execute(sa.select(schema.recommendation.c.user_id, schema.recommendation.c.rank)).all()
        items = set(connection.scalars(sa.select(schema.fallback.c.item_id)))
    assert sorted(tuple(row) for row in rows) == [("u0", 1), ("u0", 2), ("u1", 1), ("u1", 2)]
    assert "i0" not in items


def changed(rows: pa.Table, column: str, at: int, value: object) -> pa.Table:
    values = rows[column].to_pylist()
    values[at] = value
    return rows.set_column(rows.column_names.index(column), column, pa.array(values, rows.schema.field(column).type))


@pytest.mark.parametrize(
    ("column", "value", "why"),
    [
        ("rank", 3, "ranks are not 1 to m in 1 of them, first home/u0"),
        ("rank", 1, "ranks are not 1 to m"),
        ("item_id", "i0", "1 rows repeat an item of their list"),
        ("item_id", "bad", "1 rows of blocked or taken-down items, e.g. bad"),
        ("score", None, "lists: nulls in score"),
        ("propensity", 0.0, r"propensities from 0.0 to 1.0, not in \(0, 1\]"),
        ("scene", "cart", "no fallback list for everyone in scene cart"),
    ],
)
def test_a_failed_gate_says_why_and_leaves_the_live_release(engine, column, value, why):
    publish(engine)
    before = dump(engine)
    rows, fallback = release("r2")
    with pytest.raises(GateError, match=why):
        publication.publish(
            engine,
            {},
            changed(rows, column, 1, value),
            fallback,
            asof=ASOF,
            created_at=MADE,
            forbidden={"bad"},
        )
    assert dump(engine) == before


def test_gates_on_whole_tables():
    rows, fallback = release()
    assert gates.gate(rows, fallback) == []
    assert gates.gate(rows.slice(0, 0), fallback) == ["there are no rows"]
    assert gates.gate(rows, fallback.slice(0, 0)) == ["no fallback list for everyone in scene home"]
    assert "i3" in gates.gate(rows, fallback, {"i3"})[1]


def test_one_release_id(engine):
    rows, fallback = release()
    with pytest.raises(GateError, match="the rows have 0"):
        publication.publish(engine, {}, rows.slice(0, 0), fallback, asof=ASOF, created_at=MADE)


def test_a_release_that_is_already_expired_needs_the_clock_of_a_replay(engine):
    late = MADE + timedelta(days=30)
    with pytest.raises(GateError, match=r"expired at 2017-12-08.*set clock = 'asof' in the section"):
        publish(engine, clock="wall", created_at=late)
    publish(engine, clock="auto", created_at=late)
    assert shown(engine) == ["i0", "i1", "i2"]
    publish(engine, "r2", clock="auto", places={"u0": ["i5"]})  # made in its time, expired by now
    assert reading.current(engine, "u0", n=1)[0]["reason"] == "fallback"
    publish(engine, "r2", clock="auto", created_at=late, places={"u0": ["i5"]})  # publishing it again is no replay
    assert reading.current(engine, "u0", n=1)[0]["reason"] == "fallback"


def test_a_kill_in_the_middle_leaves_the_previous_release(engine, tmp_path):
    publish(engine)
    before = dump(engine)
    script = tmp_path / "killed.py"
    script.write_text(
        textwrap.dedent(
            """
            import os, signal, sys
            import sqlalchemy as sa
            from serving import ASOF, MADE, many, release
            from narrows.serving import bulk, publication
            from narrows.serving import schema
            bulk.CHUNK = 500
            engine = schema.open_engine(sys.argv[1])
            inserts = []

            @sa.event.listens_for(engine, "after_cursor_execute")
            def count(connection, cursor, statement, *rest):
                inserts.append(statement) if "INTO recommendation" in statement else None
                if len(inserts) == 3:
                    print("written", flush=True)
                    os.kill(os.getpid(), signal.SIGKILL)

            publication.publish(engine, {}, many(200, 10), release()[1], asof=ASOF, created_at=MADE)
            """
        )
    )
    paths = [str(Path(__file__).parent), str(Path(__file__).parents[2])]
    killed = subprocess.run(
        [sys.executable, str(script), str(engine.url)],
        env={"PYTHONPATH": ":".join(paths)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (killed.returncode, killed.stdout) == (-9, "written\n"), killed.stderr
    assert dump(engine) == before
    assert shown(engine) == ["i0", "i1", "i2"]
    rows = many(200, 10)
    publication.publish(engine, {}, rows, release()[1], asof=ASOF, created_at=MADE, clock="asof")
    assert shown(engine, "user000007") == ["item0", "item1", "item2"]


def test_readers_see_the_old_release_whole_until_the_swap(engine):
    publish(engine, places={"u0": ["i0", "i1", "i2"]})
    reader = schema.open_engine(str(engine.url))
    seen, done = set(), threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.add(tuple(shown(reader)))

    thread = threading.Thread(target=read)
    thread.start()
    for turn in range(20):
        items = ["i3", "i4", "i5"] if turn % 2 else ["i0", "i1", "i2"]
        publish(engine, f"t{turn}", ASOF + timedelta(days=turn), places={"u0": items})
    done.set()
    thread.join()
    reader.dispose()
    assert seen <= {("i0", "i1", "i2"), ("i3", "i4", "i5")}


def test_fifty_thousand_rows_are_read_back(engine):
    rows = many(2500, 20)
    publication.publish(engine, {}, rows, release()[1], asof=ASOF, created_at=MADE, clock="asof")
    for user in range(200):
        assert len(reading.current(engine, f"user{user:06d}")) == 20


@pytest.mark.parametrize("count", [1, 19, 20, 21, 45])
def test_every_row_and_column_is_written_however_many_there_are(engine, count):
    """Statements hold some rows each, and a column of one value once: here all but the ranks, and one list has none."""
    rows = many(1, count)
    publication.publish(engine, {}, rows, release()[1], asof=ASOF, created_at=MADE, clock="asof")
    with engine.connect() as connection:
        found = connection.execute(
            sa.select(schema.recommendation).order_by(schema.recommendation.c["rank"])
        ).mappings()
        assert [{name: row[name] for name in rows.column_names} for row in found] == rows.to_pylist()


def test_only_one_release_can_be_live(engine):
    publish(engine)
    row = {"release_id": "x", "created_at": MADE, "asof": "2017-01-01", "state": "live", "manifest": {}}
    with pytest.raises(sa.exc.IntegrityError), engine.begin() as connection:
        connection.execute(sa.insert(schema.release), row)
