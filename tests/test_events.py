"""events: every row is an event, a duplicate, broken (with the reason and the row), or later; nothing is lost."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest

from narrows.columns import EVENT_COLUMNS, KIND, WEIGHT
from narrows.settings import SourceSettings
from narrows.source.files import SourceError, open_source
from narrows.stage import Asof, Output, Table
from narrows.store.write import write_table
from stages.events import Events
from tests import random_events

ASOF = Asof.parse("2024-01-10")
NAMES = {
    "user_id": "u", "item_id": "i", "event_time": "t", "ingested_at": "a", "value": "v", "price": "p", "session_id": "s",
}  # fmt: skip


def row(n: int = 0, **given) -> dict:
    return {
        "u": f"u{n}",
        "i": "x",
        "t": "2024-01-05T12:00:00",
        "a": None,
        "v": "1",
        "p": None,
        "s": None,
        "n": n,
        **given,
    }


def clean(spark, folder: Path, rows: list[dict], asof: Asof = ASOF, broken: str = "", **room) -> Output:
    folder.mkdir(exist_ok=True, parents=True)
    text = "".join(json.dumps(row) + "\n" for row in rows) + broken
    (folder / "e.jsonl").write_text(text)
    settings = SourceSettings(name="files", events="e.jsonl", event_columns=NAMES)
    source = open_source(SimpleNamespace(source=settings, state=folder / "state", base=folder))  # type: ignore[arg-type]
    return Events(**{"max_bad_share": 1.0, **room}).transform(session=spark, source=source, asof=asof)


def published(made: Output, folder: Path) -> list[dict]:
    made.data.save(folder / "data")
    return pq.read_table(folder / "data").to_pylist()


def quarantined(made: Output) -> list[tuple[str, str]]:
    return (
        [(r["reason"], r["raw"]) for r in made.side_tables["quarantine"].collect()]
        if "quarantine" in made.side_tables
        else []
    )


def expected(given: dict) -> str | None:
    """The reason by plain Python."""
    late, end = {"2024-01-20T00:00:00", "2024-01-11T00:00:00"}, datetime(2024, 1, 11)
    if not given["u"]:
        return "no user_id"
    if not given["i"]:
        return "no item_id"
    if given["t"] in (None, "soon"):
        return "no readable event_time"
    if given["t"].startswith("1900"):
        return "event_time outside 1970 to 2200"
    if given["a"] == "??":
        return "no readable ingested_at"
    if given["v"] == "many":
        return "value or price is not a number"
    arrival = given["a"] or given["t"]
    happened, arrived = datetime.fromisoformat(given["t"]), datetime.fromisoformat(arrival)
    if happened - arrived > timedelta(hours=24):
        return "event_time after its arrival"
    return "later" if given["t"] in late or happened >= end or arrived >= end else None


@pytest.mark.parametrize(
    ("later", "goes_on"), [((), False), (("2030-01-01",), False), (("2030-01-01", "2024-02-07"), True)]
)
def test_one_row_dated_far_ahead_does_not_show_that_the_source_goes_on(spark, tmp_path, later, goes_on):
    made = clean(
        spark, tmp_path, [row(0), row(1, t="2024-01-03T00:00:00"), *(row(n, t=t) for n, t in enumerate(later))]
    )
    assert made.notes["goes_on"] is goes_on
    assert (made.notes["begins"], made.notes["ends"]) == ("2024-01-03", "2024-01-05")
    assert made.notes["rows_after_asof"] == len(later)


def test_every_row_is_accounted_for_with_its_reason(spark, tmp_path):
    fields = [
        ["ok", "", None], ["x", None],
        ["2024-01-05T12:00:00", None, "soon", "1900-01-01", "2024-01-10T23:59:59.999999", "2024-01-11T00:00:00"],
        [None, "??", "2024-01-06T00:00:00", "2024-01-20T00:00:00"], ["2.5", None, "many"],
    ]  # fmt: skip
    rows = [row(n, u=u and f"u{n}", i=i, t=t, a=a, v=v) for n, (u, i, t, a, v) in enumerate(itertools.product(*fields))]
    made = clean(spark, tmp_path, rows, broken='{"u": "cut o\n')
    reasons = {given["n"]: expected(given) for given in rows}
    counts = Counter(reason for reason in reasons.values() if reason)
    assert len(counts) == 8, "every reason occurs"
    later = counts.pop("later")
    events, bad = published(made, tmp_path), quarantined(made)
    assert made.notes["quarantine"] == {**counts, "unreadable row": 1}
    assert made.notes["rows_after_asof"] == later
    assert made.notes["events"] == len(events) == sum(reason is None for reason in reasons.values())
    assert len(events) + len(bad) + later == len(rows) + 1
    originals = {given["n"]: given for given in rows}
    for reason, raw in bad:
        found = json.loads(raw)
        if reason == "unreadable row":
            assert found["_corrupt"] == '{"u": "cut o'
            continue
        assert reasons[int(found.pop("n"))] == reason
        assert found.items() >= {k: v for k, v in originals[int(json.loads(raw)["n"])].items() if k != "n"}.items()
    assert {event["user_id"] for event in events} == {f"u{n}" for n, reason in reasons.items() if reason is None}


def test_events_are_typed_and_lie_in_the_folder_of_the_day_they_were_known(spark, tmp_path):
    rows = [
        row(1, v="2", p="1.5", s="basket"),
        row(2, t="2024-01-01T23:59:59.5"),
        row(3, t="2024-01-01T23:00:00", a="2024-01-03T08:00:00"),
        row(4, t="2024-01-03T10:00:00", a="2024-01-03T09:00:00"),
    ]
    made = clean(spark, tmp_path, rows)
    made.data.save(tmp_path / "data")
    days = {path.name: len(list(path.iterdir())) for path in (tmp_path / "data").iterdir()}
    assert days == {"known=2024-01-01": 1, "known=2024-01-03": 1, "known=2024-01-05": 1}, (
        "a day without events has no folder"
    )
    table = pq.read_table(tmp_path / "data")
    assert table.column_names == [*EVENT_COLUMNS, KIND, WEIGHT, "known"]
    assert (
        str(table.schema.field("event_time").type)
        == str(table.schema.field("ingested_at").type)
        == "timestamp[us, tz=UTC]"
    )
    first = next(r for r in table.to_pylist() if r["user_id"] == "u1")
    assert (first["value"], first["price"], first["session_id"], first["event_type"]) == (2.0, 1.5, "basket", "event")
    assert first["context"] is None
    assert made.notes["ends"] == "2024-01-05"
    assert "quarantine" not in made.side_tables
    seen = spark.read.parquet(str(tmp_path / "data")).where("user_id = 'u3'").select("event_time", "known").first()
    assert str(seen["known"]) == "2024-01-03"


def test_of_copies_the_first_to_arrive_is_the_event(spark, tmp_path):
    same = {"u": "d", "t": "2024-01-05T12:00:00"}
    rows = [
        row(1, **same, v="1", a="2024-01-07T00:00:00"),
        row(2, **same, v="2", a="2024-01-06T00:00:00"),
        row(3, **same, v="3", a="2024-01-09T00:00:00"),
        row(4, **same, v="4", s="another basket"),
        row(5),
    ]
    made = clean(spark, tmp_path, rows)
    assert made.notes["quarantine"] == {"duplicate": 2}
    events = published(made, tmp_path)
    assert sorted(e["value"] for e in events if e["user_id"] == "d") == [2.0, 4.0]
    assert sorted(json.loads(raw)["n"] for _, raw in quarantined(made)) == ["1", "3"]


def test_a_later_copy_does_not_change_an_earlier_asof(spark, tmp_path):
    early, late = row(1, u="d", v="1", a="2024-01-06T00:00:00"), row(2, u="d", v="2", a="2024-01-09T00:00:00")
    first = published(clean(spark, tmp_path / "1", [early, row(3)], Asof.parse("2024-01-07")), tmp_path / "1")
    second = published(clean(spark, tmp_path / "2", [early, late, row(3)], Asof.parse("2024-01-07")), tmp_path / "2")
    whole = published(clean(spark, tmp_path / "3", [early, late, row(3)]), tmp_path / "3")
    assert first == second
    assert [e for e in whole if e["known"] <= "2024-01-07"] == first, "a later partition has the earlier one in it"


@pytest.mark.parametrize("many", [3, 10_000])
def test_many_copies_take_the_same_way(spark, tmp_path, monkeypatch, many):
    monkeypatch.setattr("stages.events.clean.MAX_LISTED_KEYS", many)
    rows = [row(n % 20) | {"n": n} for n in range(60)]
    made = clean(spark, tmp_path, rows)
    assert made.notes["quarantine"] == {"duplicate": 40}
    assert made.notes["events"] == 20
    assert len(published(made, tmp_path)) == 20
    assert len(quarantined(made)) == 40


def test_duplicates_do_not_count_as_bad_and_the_same_input_makes_the_same_files(spark, tmp_path):
    rows = [row(n % 30) | {"n": n} for n in range(90)]
    for folder in ("1", "2"):
        clean(spark, tmp_path / folder, rows, max_bad_share=0.0).data.save(tmp_path / folder / "data")
    one, two = (sorted((tmp_path / f / "data").rglob("*.parquet")) for f in ("1", "2"))
    assert [file.read_bytes() for file in one] == [file.read_bytes() for file in two]


def test_too_many_bad_rows_stop_before_anything_is_written(spark, tmp_path):
    rows = [row(n) for n in range(98)] + [row(99, u=None), row(100, t="soon")]
    assert clean(spark, tmp_path, rows, max_bad_share=0.02).notes["events"] == 98
    with pytest.raises(SourceError) as raised:
        clean(spark, tmp_path, rows, max_bad_share=0.019)
    said = str(raised.value)
    assert "2 of 100 rows are broken (no readable event_time: 1, no user_id: 1)" in said
    assert "max_bad_share = 0.019" in said
    assert "Nothing was published" in said


def test_the_share_of_bad_rows_is_the_same_at_every_asof(spark, tmp_path):
    rows = [row(n, t=f"2024-01-0{n % 3 + 5}T12:00:00") for n in range(96)] + [row(5, t="2024-01-07T12:00:00")] * 3
    rows.append(row(100, u=None))
    for asof in (Asof.parse("2024-01-05"), ASOF):
        assert clean(spark, tmp_path, rows, asof, max_bad_share=0.01).notes["events"]
        with pytest.raises(SourceError, match="1 of 100 rows"):
            clean(spark, tmp_path, rows, asof, max_bad_share=0.009)


@pytest.mark.parametrize("rows", [[row(1, t="2025-01-01T00:00:00")], [row(1, u="")]])
def test_without_a_usable_event_it_says_so(spark, tmp_path, rows):
    with pytest.raises(SourceError, match=f"no usable event up to {ASOF}.*Choose another as-of"):
        clean(spark, tmp_path, rows)


def test_the_clock_skew_is_a_setting(spark, tmp_path):
    rows = [row(1, t="2024-01-05T12:00:00", a="2024-01-05T02:00:00"), row(2)]
    assert clean(spark, tmp_path, rows).notes["quarantine"] == {}
    assert clean(spark, tmp_path, rows, max_clock_skew_hours=9.0).notes["quarantine"] == {
        "event_time after its arrival": 1
    }


def test_instants_are_utc(spark, tmp_path):
    made = clean(spark, tmp_path, [row(1, t="2024-01-05T23:30:00-02:00")])
    assert published(made, tmp_path)[0]["event_time"] == datetime(2024, 1, 6, 1, 30, tzinfo=UTC)


def test_an_earlier_partition_of_the_same_source_is_linked_and_the_rest_is_what_one_pass_makes(spark, tmp_path):
    """Late rows, and a copy that arrives after the earlier partition: no difference but for the shared files."""
    events = random_events.events(5)
    events += [
        {**event, "ingested_at": event["ingested_at"] + timedelta(days=30), "price": 9.0} for event in events[:40]
    ]
    source = random_events.source(tmp_path, events)
    first, second = Asof.parse("2024-03-01"), Asof.parse("2024-04-01")

    def make(asof: Asof, folder: str, earlier: Table | None = None) -> tuple[Output, Table]:
        made = Events(max_bad_share=1.0).transform(session=spark, source=source, asof=asof, earlier=earlier)
        made.data.save(tmp_path / folder / "data")
        for name, data in made.side_tables.items():
            write_table(data, tmp_path / folder / name)
        return made, Table("events", asof, "v", tmp_path / folder, {"partitioned_by": "known", "notes": made.notes})

    _, earlier = make(first, "first")
    once, alone = make(second, "alone")
    twice, grown = make(second, "grown", earlier)
    assert once.notes == twice.notes
    assert once.notes["quarantine"]["duplicate"] > 0
    assert sorted(quarantined(once)) == sorted(quarantined(twice))
    keys = [(name, "ascending") for name in ("event_time", "user_id", "item_id", "session_id")]
    assert grown.arrow().sort_by(keys).to_pylist() == alone.arrow().sort_by(keys).to_pylist()
    linked = [file for file in (tmp_path / "grown" / "data").rglob("*.parquet") if file.stat().st_nlink == 2]
    assert len(linked) == len(list((tmp_path / "first" / "data").rglob("*.parquet"))) > 10
    assert len(list((tmp_path / "grown" / "data").rglob("*.parquet"))) > len(linked)
