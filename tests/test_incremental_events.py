"""events, one period after the other: the rows, the quarantine and the notes of reading everything, without reading it."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest

from narrows.asof import Asof
from narrows.source.errors import SourceError
from tests import arrivals
from tests.arrivals import START, arrived, contents, drop, make, make_several, source

DAYS = 5


def asof(day: int) -> Asof:
    return Asof.parse(f"{START + timedelta(days=day):%Y-%m-%d}")


def whole_reads(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if "reads the whole source" in record.getMessage()]


@pytest.fixture(autouse=True)
def _logged(caplog):
    caplog.set_level(logging.INFO, logger="stages")
    logging.getLogger("stages").propagate = True


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_day_by_day_is_at_once(spark, tmp_path, caplog, seed):
    """With late rows, copies that arrive on another day, broken rows, impressions and returns."""
    rows, before = arrivals.log(seed, DAYS), None
    for day in range(DAYS):
        drop(tmp_path, f"{day}", [row for row in rows if arrived(row) == day])
        grown = make(spark, tmp_path / f"grown{day}", source(tmp_path), asof(day), before)
        if day in (1, DAYS - 1):
            alone = make(spark, tmp_path / f"alone{day}", source(tmp_path), asof(day))
            assert contents(grown) == contents(alone), day
        before = grown
    assert whole_reads(caplog) == []
    assert before is not None
    for note in ("late", "undo_without_positive"):
        assert before.notes[note] > 0
    assert before.notes["quarantine"].keys() >= {"duplicate", "no user_id", "value or price is not a number"}


@pytest.mark.parametrize("goes_on", [False, True])
def test_several_days_of_one_reading_are_the_days_one_by_one(spark, tmp_path, caplog, goes_on):
    """All files are there: copies and broken rows of later days are counted where they are known."""
    rows, before = arrivals.log(2, DAYS), None
    for day in range(DAYS):
        drop(tmp_path, f"{day}", [row for row in rows if arrived(row) == day])
    if goes_on:
        before = make(spark, tmp_path / "before", source(tmp_path), asof(0))
    days = [asof(day) for day in range(int(goes_on), DAYS)]
    made = make_several(spark, tmp_path / "several", source(tmp_path), days, before)
    assert sorted(made) == days
    for day in days:
        alone = make(spark, tmp_path / f"alone{day}", source(tmp_path), day)
        assert contents(made[day]) == contents(alone), day
        assert made[day].side("listing").arrow() == alone.side("listing").arrow()
        for name in ("items", "users"):
            assert made[day].side(name).arrow() == alone.side(name).arrow()
    assert len({table.notes["quarantine"].get("duplicate") for table in made.values()}) > 1
    first, second = (dict(map(reversed, made[day].files())) for day in days[:2])
    assert all(second[place].samefile(file) for place, file in first.items()), "of one file there is one copy"
    assert whole_reads(caplog) == []


def test_of_several_days_those_are_made_that_are_over(spark, tmp_path):
    """A day without rows is over where later ones have some; the first one is made in any case."""
    rows = [row for row in arrivals.log(9, 4) if row["event_time"] and arrived(row) in (0, 2, 3)]
    drop(tmp_path, "0", rows)
    days = [asof(day) for day in range(6)]
    made = make_several(spark, tmp_path / "several", source(tmp_path), days)
    assert sorted(made) == days[:4]
    assert made[asof(1)].notes["events"] >= made[asof(0)].notes["events"]
    assert list(make_several(spark, tmp_path / "after", source(tmp_path), days[4:])) == [asof(4)]


def test_a_file_with_the_future_in_it_is_read_from_the_watermark_on(spark, tmp_path, caplog):
    rows, before = arrivals.log(3, DAYS), None
    drop(tmp_path, "everything", rows)
    for day in (1, 3):
        before = make(spark, tmp_path / f"grown{day}", source(tmp_path), asof(day), before)
        assert contents(before) == contents(make(spark, tmp_path / f"alone{day}", source(tmp_path), asof(day))), day
    assert whole_reads(caplog) == []


def test_a_file_is_read_once(spark, tmp_path):
    """The files of earlier days may even be unreadable: only their size and time are looked at."""
    rows = arrivals.log(4, 3)
    for day in range(2):
        drop(tmp_path, f"{day}", [row for row in rows if arrived(row) == day and row["event_time"]])
    drop(tmp_path, "1", [row for row in rows if arrived(row) == 1])
    first = make(spark, tmp_path / "first", source(tmp_path), asof(1))
    listed = {row["file"]: row["open"] for row in first.side("listing").arrow().to_pylist()}
    assert listed == {"events/0.parquet": False, "events/1.parquet": False}
    import os

    for name in ("0", "1"):
        file = tmp_path / "events" / f"{name}.parquet"
        stat = file.stat()
        file.write_bytes(b"x" * stat.st_size)
        os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    drop(tmp_path, "2", [row for row in rows if arrived(row) == 2])
    second = make(spark, tmp_path / "second", source(tmp_path), asof(2), first)
    assert second.notes["events"] > first.notes["events"]
    nothing = make(spark, tmp_path / "third", source(tmp_path), asof(2), second)
    assert contents(nothing) == contents(second)


def test_hours_in_halves_twice_and_out_of_order(spark, tmp_path, caplog):
    """A source that says nothing of arrivals: a row counts as known when it happened, whenever its file comes."""
    hour = timedelta(hours=1)
    schema = arrivals.SCHEMA.remove(arrivals.SCHEMA.get_field_index("ingested_at"))
    rows = [{k: v for k, v in row.items() if k != "ingested_at"} for row in arrivals.log(5, 1, 90) if row["event_time"]]
    of = {h: [row for row in rows if row["event_time"].hour == h] for h in range(24)}
    assert of[0], "the source begins with its first hour"
    before = None
    files = [
        (0, {"0": of[0]}), (1, {"1a": of[1][::2]}), (1, {"1b": of[1][1::2]}), (3, {"3": of[3]}),
        (4, {"2": of[2], "4": of[4]}), (5, {"0 again": of[0], "5": of[5]}), (6, {}),
    ]  # fmt: skip
    for number, (h, came) in enumerate(files):
        for name, some in came.items():
            drop(tmp_path, name, some, schema)
        at = Asof.parse(f"2024-01-01T{h:02d}", hour)
        before = make(spark, tmp_path / f"grown{number}", source(tmp_path, grain="hour"), at, before)
        alone = make(spark, tmp_path / f"alone{number}", source(tmp_path, grain="hour"), at)
        assert contents(before) == contents(alone), (h, came.keys())
    assert whole_reads(caplog) == []
    assert any("add to 1 earlier periods" in record.getMessage() for record in caplog.records)
    assert before.notes["quarantine"]["duplicate"] >= len(of[0])


def test_a_copy_that_says_it_arrived_first_makes_the_source_be_read_as_a_whole(spark, tmp_path, caplog):
    rows = [row for row in arrivals.log(6, 2) if row["event_time"] and row["user_id"] and row["value"] != "many"]
    drop(tmp_path, "0", rows)
    first = make(spark, tmp_path / "first", source(tmp_path), asof(4))
    event = first.arrow().to_pylist()[0]
    names = set(arrivals.SCHEMA.names)
    before = {k: v for k, v in event.items() if k in names} | {"value": "77", "number": 1000}
    drop(tmp_path, "1", [before | {"ingested_at": event["ingested_at"] - timedelta(minutes=1)}])
    second = make(spark, tmp_path / "second", source(tmp_path), asof(5), first)
    assert contents(second) == contents(make(spark, tmp_path / "alone", source(tmp_path), asof(5)))
    assert 77.0 in second.arrow()["value"].to_pylist()
    [line] = whole_reads(caplog)
    assert "1 rows of new files are first copies of events that 2024-01-05 has" in line


def test_a_changed_and_a_vanished_file_make_the_source_be_read_as_a_whole(spark, tmp_path, caplog):
    rows = arrivals.log(7, 4)
    drop(tmp_path, "0", [row for row in rows if arrived(row) < 2])
    first = make(spark, tmp_path / "first", source(tmp_path), asof(1))
    drop(tmp_path, "0", [row for row in rows if arrived(row) < 3])
    second = make(spark, tmp_path / "second", source(tmp_path), asof(2), first)
    assert contents(second) == contents(make(spark, tmp_path / "second alone", source(tmp_path), asof(2)))
    (tmp_path / "events" / "0.parquet").rename(tmp_path / "events" / "one.parquet")
    third = make(spark, tmp_path / "third", source(tmp_path), asof(3), second)
    assert contents(third) == contents(make(spark, tmp_path / "third alone", source(tmp_path), asof(3)))
    changed, gone = whole_reads(caplog)
    assert "events/0.parquet has changed since 2024-01-02" in changed
    assert "events/0.parquet is gone since 2024-01-03" in gone


def test_a_gained_column_is_taken_and_another_type_is_refused(spark, tmp_path, caplog):
    rows = arrivals.log(8, 4)
    drop(tmp_path, "0", [row for row in rows if arrived(row) == 0])
    before = make(spark, tmp_path / "first", source(tmp_path), asof(0))
    import pyarrow as pa

    more = arrivals.SCHEMA.append(pa.field("shelf", pa.string()))
    drop(tmp_path, "1", [row | {"shelf": "top"} for row in rows if arrived(row) == 1], more)
    before = make(spark, tmp_path / "second", source(tmp_path), asof(1), before)
    assert contents(before) == contents(make(spark, tmp_path / "second alone", source(tmp_path), asof(1)))
    assert "column 'shelf' is new" in whole_reads(caplog)[0]
    drop(tmp_path, "2", [row for row in rows if arrived(row) == 2])  # without it again: null
    third = make(spark, tmp_path / "third", source(tmp_path), asof(2), before)
    assert contents(third) == contents(make(spark, tmp_path / "third alone", source(tmp_path), asof(2)))
    assert len(whole_reads(caplog)) == 1
    other = arrivals.SCHEMA.set(arrivals.SCHEMA.get_field_index("price"), pa.field("price", pa.string()))
    drop(tmp_path, "3", [row | {"price": "1.5"} for row in rows if arrived(row) == 3], other)
    with pytest.raises(SourceError, match=r"column 'price' is double in .*0.parquet and string in .*3.parquet"):
        make(spark, tmp_path / "fourth", source(tmp_path), asof(3), third)


def test_a_half_written_file_is_refused_by_name_and_read_when_it_is_whole(spark, tmp_path):
    rows = arrivals.log(9, 2)
    drop(tmp_path, "0", [row for row in rows if arrived(row) == 0])
    first = make(spark, tmp_path / "first", source(tmp_path), asof(0))
    drop(tmp_path, "1", [row for row in rows if arrived(row) == 1])
    file = tmp_path / "events" / "1.parquet"
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(SourceError, match=r"1.parquet is not a readable Parquet file"):
        make(spark, tmp_path / "half", source(tmp_path), asof(1), first)
    file.write_bytes(content)
    (tmp_path / "events" / ".2.parquet.part").write_bytes(content[:100])  # what a careful writer leaves meanwhile
    second = make(spark, tmp_path / "second", source(tmp_path), asof(1), first)
    assert contents(second) == contents(make(spark, tmp_path / "alone", source(tmp_path), asof(1)))


def test_half_a_text_file_is_read_as_it_is_and_again_when_it_has_grown(spark, tmp_path, caplog):
    """Half a text file looks like a whole one; its size tells the next run."""
    lines = [f"u{n},i{n},2024-01-0{1 + n % 3}T10:00:00\n" for n in range(30)]
    (tmp_path / "events").mkdir()
    file = tmp_path / "events" / "log.csv"
    file.write_text("user_id,item_id,event_time\n" + "".join(lines[:20]) + lines[20][:5])
    first = make(spark, tmp_path / "first", source(tmp_path, kinds={}), asof(2))
    assert (first.notes["events"], sum(first.notes["quarantine"].values())) == (20, 1)
    file.write_text("user_id,item_id,event_time\n" + "".join(lines))
    second = make(spark, tmp_path / "second", source(tmp_path, kinds={}), asof(3), first)
    assert (second.notes["events"], second.notes["quarantine"]) == (30, {})
    assert "events/log.csv has changed" in whole_reads(caplog)[0]
