"""The rows of a release."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from serving import ASOF, ITEMS, MADE, USERS, WEEK, of, release

from narrows.asof import Asof
from narrows.pipeline import Pipeline
from narrows.serving import bulk, publication, reading, schema
from narrows.stage import Output, Previous, Recent, Table
from narrows.store.write import write_table
from stages import PIPELINE
from stages.recommendations import Recommendations, lists
from stages.recommendations.fallback import fallback_lists


def test_a_list_expires_after_its_horizon_and_the_grace():
    assert lists.expiry(ASOF, WEEK, 12) == datetime(2017, 12, 8, 12, tzinfo=UTC)


def written(made: Output, folder: Path) -> list[dict[str, Any]]:
    write_table(made.data, folder)
    return pa.concat_tables(pq.read_table(file) for file in sorted(folder.iterdir())).to_pylist()


def test_the_room_makes_the_rows(tmp_path):
    rerank = {
        "user_id": ["u0", "u0", "u1", "u0"],
        "item_id": ["i1", "i0", "i0", "i4"],
        "rank": pa.array([2, 1, 1, None], pa.int32()),
        "score": [0.2, 0.3, 0.4, 0.1],
        "propensity": [0.9, 1.0, 1.0, 0.1],
        "reason": ["explore", "because_history", "popular", "rank_cut"],
        "kept": [True, True, True, False],
    }
    tables = {"rerank": pa.table(rerank), "item_profiles": ITEMS, "user_profiles": USERS}

    def handle(name: str, version: str = "v") -> Table | Recent:
        folder = tmp_path / name / version
        (folder / "data").mkdir(parents=True, exist_ok=True)
        pq.write_table(tables[name], folder / "data" / "part-00000.parquet")
        table = Table(name, ASOF, version, folder, {})
        return Recent({ASOF: table}) if name == "item_profiles" else table

    room, settings = Recommendations(fallback_n=2), SimpleNamespace(serving_url=f"sqlite:///{tmp_path / 'serving.db'}")
    made = room.transform(*(handle(name) for name in tables), Previous(), horizon=WEEK, settings=settings, since=None)
    rows = written(made, tmp_path / "made")
    assert [(r["user_id"], r["rank"], r["item_id"], r["segment"]) for r in rows] == [
        ("u0", 1, "i0", "young"),
        ("u0", 2, "i1", "young"),
        ("u1", 1, "i0", None),
    ]
    first = rows[1]
    assert (made.notes["lists"], made.notes["received"]) == (2, 3)
    assert (first["scene"], first["batch_id"], first["reason"]) == ("home", "2017-11-30", "explore")
    assert first["expires_at"] == datetime(2017, 12, 9, tzinfo=UTC)
    assert of(made.side_tables["fallback"], "all") == ["i4", "i1"]  # i2, i3 and i5 reached rerank for nobody
    json.dumps(made.notes)
    again = room.transform(*(handle(name) for name in tables), Previous(), horizon=WEEK, settings=settings, since=None)
    assert again.notes["release_id"] == made.notes["release_id"] == first["release_id"]
    assert made.notes["release_id"].startswith("2017-11-30-")
    other = room.transform(
        handle("rerank", "w"),
        handle("item_profiles"),
        handle("user_profiles"),
        Previous(),
        horizon=WEEK,
        settings=settings,
        since=None,
    )
    assert other.notes["release_id"] != made.notes["release_id"]
    engine = schema.open_engine(settings.serving_url)
    reading.takedown(engine, "i0", "recalled", datetime(2017, 11, 30, tzinfo=UTC))
    reading.takedown(engine, "i4", "recalled", datetime(2017, 11, 30, tzinfo=UTC))
    without = room.transform(
        *(handle(name) for name in tables), Previous(), horizon=WEEK, settings=settings, since=None
    )
    assert [(r["user_id"], r["rank"], r["item_id"]) for r in written(without, tmp_path / "without")] == [
        ("u0", 1, "i1")
    ]
    assert (without.notes["received"], without.notes["taken_down"]) == (3, 2)
    assert "i4" not in of(without.side_tables["fallback"], "all")


def test_lists_of_a_flow_sample_stand_among_the_others_in_the_order_of_users(tmp_path):
    """The sample's users come first in the table; pieces are shards, and a release of pieces is that of one table."""

    def shard(number: int, users: str, weight: float | None) -> None:
        size = 2 * len(users)
        rows = {
            "user_id": [user for user in users for _ in (1, 2)], "item_id": ["i1", "i2"] * len(users),
            "rank": pa.array([2, 1] * len(users), pa.int32()), "score": [0.5] * size, "propensity": [1.0] * size,
            "reason": ["popular"] * size, "request_weight": pa.array([weight] * size, pa.float32()),
        }  # fmt: skip
        pq.write_table(pa.table(rows), tmp_path / "data" / f"part-{number:05d}.parquet")

    for folder in ("data", "requests"):
        (tmp_path / folder).mkdir()
    for number, (users, weight) in enumerate([("dag", 2.0), ("bc", None), ("ef", None), ("", None)]):
        shard(number, users, weight)
    pieces = list(lists.read_lists(Table("rerank", ASOF, "v", tmp_path, {})))
    assert [sorted({*piece["user_id"].to_pylist()}) for piece in pieces] == [[*"abc"], [*"def"], ["g"]]
    named = {"scene": "home", "release_id": "r1", "batch_id": "b", "expires_at": lists.expiry(ASOF, WEEK, 0)}
    rows = [lists.rows(piece, USERS, **named) for piece in pieces]
    assert pa.concat_tables(rows)["user_id"].to_pylist() == [*"aabbccddeeffgg"]
    fallback = fallback_lists(ITEMS, USERS, ITEMS["item_id"].combine_chunks(), "1x", "home", 4)
    held = []
    for name, given in (("whole", pa.concat_tables(rows)), ("pieces", lambda: iter(rows))):
        engine = schema.open_engine(f"sqlite:///{tmp_path / name}.db")
        schema.create(engine)
        notes = publication.publish(engine, {}, given, fallback, asof=ASOF, created_at=MADE, clock="asof")
        with engine.connect() as connection:
            held.append((notes, connection.execute(schema.recommendation.select()).all()))
    assert held[0] == held[1]
    assert held[0][0]["rows"] == 14


def test_rows_are_copied_into_postgres():
    """By psycopg's COPY, with plain Python values in the order of the columns that it names."""
    from contextlib import contextmanager

    copied: list[tuple] = []

    @contextmanager
    def cursor():
        @contextmanager
        def copy(statement: str):
            assert statement == "COPY fallback (release_id, rank, item_id) FROM STDIN"
            yield SimpleNamespace(write_row=copied.append)

        yield SimpleNamespace(copy=copy)

    from sqlalchemy.dialects.postgresql import dialect as postgres

    connection = SimpleNamespace(dialect=postgres(), connection=SimpleNamespace(cursor=cursor))
    connection.dialect.driver = "psycopg"
    rows = pa.table({"rank": [1, 2], "item_id": ["a", "b"], "unknown": [0, 0]})
    bulk.insert(connection, schema.fallback, rows, {"release_id": "r"})
    assert copied == [("r", 1, "a"), ("r", 2, "b")]


def test_settings_are_checked():
    for wrong in ({"clock": "moon"}, {"keep": -1}, {"fallback_n": 0}, {"grace_hours": -1.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Recommendations(**wrong)


def test_release_ids_follow_versions_and_settings():
    base = lists.release_id(Asof.parse("2017-01-01"), ["a"], {"n": 1})
    assert base == lists.release_id(Asof.parse("2017-01-01"), ["a"], {"n": 1})
    assert (
        len(
            {
                base,
                lists.release_id(Asof.parse("2017-01-01"), ["b"], {"n": 1}),
                lists.release_id(ASOF, ["a"], {"n": 1}),
            }
        )
        == 3
    )


def test_the_room_publishes_again_only_what_is_lost(tmp_path, monkeypatch, caplog):
    """A version that exists is published again on every run: a deleted database, a new address."""
    rerank = pa.table({"item_id": ["i0", "i9"], "reason": ["popular", "policy:block"]})
    rows, fallback = release("2017-11-30-a")
    rows = rows.set_column(rows.column_names.index("reason"), "reason", pa.array([*["popular"] * 4, "my_rule"]))
    for name, table in {"rec/data": rows, "rec/fallback": fallback, "rerank/data": rerank}.items():
        (tmp_path / name).mkdir(parents=True)
        pq.write_table(table, tmp_path / name / "part-00000.parquet")
    notes = {"release_id": "2017-11-30-a", "received": 7}
    meta = {"fingerprint": "f", "inputs": {}, "settings": {}, "notes": notes, "made_at": "2017-12-01T03:00:00Z"}
    draft = Table("recommendations", ASOF, "v", tmp_path / "rec", meta)
    given = {"rerank": Table("rerank", ASOF, "v", tmp_path / "rerank", {}), "asof": ASOF}
    room = Recommendations(clock="asof")

    def publish(name: str, **more: str) -> dict:
        settings = SimpleNamespace(serving_url=f"sqlite:///{tmp_path / name}", pipeline=Pipeline.of(PIPELINE))
        return room.publish(draft, **given, settings=settings, **more)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the rows were written again")

    caplog.set_level("INFO")
    first = publish("a.db")
    assert (first["live"], first["taken_down"]) == (True, 2)
    draft.meta["notes"] = notes | first
    with monkeypatch.context() as patch:
        patch.setattr(publication, "publish", refuse)
        assert publish("a.db") == first | {"swapped": False}
    assert publish("b.db", hold="the source ends on 2017-11-20")["kept_because"] == "the source ends on 2017-11-20"
    (tmp_path / "a.db").unlink()
    assert publish("a.db") == first
    unknown = "no room's reasons.yml explains: my_rule"
    assert caplog.messages == [
        unknown,
        "release 2017-11-30-a is LIVE",
        "release 2017-11-30-a is LIVE",
        unknown,
        "release 2017-11-30-a is kept, because the source ends on 2017-11-20",
        unknown,
        "release 2017-11-30-a is LIVE",
    ]
    engine = schema.open_engine(f"sqlite:///{tmp_path}/a.db")
    texts = {row["reason"]: row["reason_text"] for row in reading.current(engine, "u1", n=3)}
    assert texts == {
        "popular": "many users have it now", "my_rule": "my_rule", "fallback": schema.FALLBACK["fallback"],
    }  # fmt: skip
    engine.dispose()
