"""A day that arrives through a stream is the day in batch, row for row, whatever is killed or repeated."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from narrows.cli.main import main
from narrows.cli.stream import ended
from narrows.settings import load_settings
from narrows.stage import Table
from narrows.stream import query
from narrows.stream.pieces import Pieces
from stages.item_profiles import ItemProfiles
from stages.user_profiles import UserProfiles
from tests.arrivals import START, contents
from tests.streams import HOUR, a_day, at, killed, land, partition, take, write
from tests.test_profiles import ROOM, saved


def profiles(table: Table, hour: int, place: Path) -> list[pa.Table]:
    """What the profile rooms make of a partition of events."""
    few = Table("events", table.asof, "v", table._folder, {**table.meta, "rows": 900})
    made = []
    for room in (UserProfiles(sequence_length=5), ItemProfiles()):
        output = room.transform(few, few.side("items"), few.side("users"), session=None, asofs=[at(hour)], **ROOM)
        output.save(place / room.name)
        made.append(Table("t", at(hour), "v", saved(place / room.name, at(hour)), {}).arrow())
    return made


@pytest.mark.parametrize("hours", [3, pytest.param(24, marks=pytest.mark.slow)])
def test_a_day_in_pieces_is_the_day_in_batch(spark, tmp_path, monkeypatch, hours):
    """Some of the micro-batches are killed after their piece and before the checkpoint, some between draft and piece."""
    settings, before = write(tmp_path), None
    for hour, rows in enumerate(a_day(1, hours)):
        land(tmp_path, f"{hour:02d}", rows)
        for done, name in ((Pieces, "_keep"), (query, "_take"))[: 2 * (hour % 3 == 1)]:
            killed(spark, settings, monkeypatch, done, name)
        pieces = take(spark, settings)
        assert len(list(pieces.folder.glob("*.parquet"))) == hour + 1
        before = partition(spark, settings, tmp_path / f"grown{hour}", hour, before)
    assert before is not None
    batch = partition(spark, settings, tmp_path / "batch", hours - 1, events="landing")
    assert contents(before) == contents(batch)
    assert before.notes["late"] > 0
    assert before.notes["quarantine"].keys() >= {"duplicate"}
    one, other = (profiles(table, hours - 1, tmp_path / name) for name, table in (("s", before), ("b", batch)))
    for streamed, batched in zip(one, other, strict=True):
        assert streamed.num_rows
        assert streamed.equals(batched)


def test_an_hour_twice_in_halves_late_and_out_of_order(spark, tmp_path):
    """What arrives counts, whatever the order and the times of the files; a copy is a duplicate, as in batch."""
    settings, day = write(tmp_path), a_day(2, 4)
    for names in (
        {"0": day[0]}, {"1a": day[1][::2]}, {"1b": day[1][1::2], "3": day[3]}, {"2": day[2], "0 again": day[0]}, {},
    ):  # fmt: skip
        for name, rows in names.items():
            file = land(tmp_path, name, rows)
            os.utime(
                file, (START.timestamp(), START.timestamp() - 86_400 * int(name[0]))
            )  # years old, the later the older
        take(spark, settings)
    assert len(list((tmp_path / "events").glob("*.parquet"))) == 4, "nothing new is no piece"
    streamed = partition(spark, settings, tmp_path / "s", 3)
    batch = partition(spark, settings, tmp_path / "b", 3, events="landing")
    assert contents(streamed) == contents(batch)
    assert batch.notes["quarantine"]["duplicate"] >= len(day[0])


def test_a_period_has_ended_when_the_watermark_has_passed_it():
    ten = timedelta(minutes=10)
    assert str(ended(START + HOUR + ten, ten, HOUR)) == "2024-01-01T00"
    assert str(ended(START + 2 * HOUR, ten, HOUR)) == "2024-01-01T00"
    assert str(ended(START + HOUR + ten, ten, timedelta(days=1))) == "2023-12-31"


@pytest.mark.slow
def test_tables_of_the_hours_that_have_ended_are_those_of_a_backfill(spark, tmp_path, capsys):
    """`narrows stream --tables` after every hour, and a run that a kill ended between the pieces and the tables."""
    write(tmp_path / "live")
    (tmp_path / "all").mkdir()
    day, made = a_day(5, 6), []
    for hour, rows in enumerate(day):
        land(tmp_path / "live", f"{hour}", rows)
        if hour == 3:
            take(spark, load_settings(tmp_path / "live" / "narrows.toml", {}))  # and then the machine was gone
            continue
        assert main(["--file", str(tmp_path / "live" / "narrows.toml"), "stream", "--tables", "--json"]) == 0
        made += json.loads(capsys.readouterr().out.splitlines()[-1])["made"]
    assert made == [str(at(hour)) for hour in range(5)]
    from narrows.run.runner import Runner

    write(tmp_path / "all")
    (tmp_path / "live" / "landing").rename(tmp_path / "all" / "events")
    command = ["backfill", "--from", made[0], "--to", made[-1]]
    assert main(["--file", str(tmp_path / "all" / "narrows.toml"), *command]) == 0
    live, whole = (Runner(load_settings(tmp_path / name / "narrows.toml", {})).store for name in ("live", "all"))
    for room in ("events", "user_profiles", "item_profiles"):
        for hour in range(5):
            one, other = live.current(room, at(hour)), whole.current(room, at(hour))
            assert one is not None
            assert other is not None
            assert sorted(map(str, one.arrow().to_pylist())) == sorted(map(str, other.arrow().to_pylist())), (
                room,
                hour,
            )
