"""Sources: every kind of file, of column map, of time and of id; and changes of remote files."""

from __future__ import annotations

import re
import threading
import tomllib
import uuid
import zipfile
from datetime import UTC, date, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from narrows.source.errors import SourceError
from tests.source_files import COLUMNS, EXPECTED, ROWS, cleaned, ids, source, typed_events, written


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
    opened = source(tmp_path, url.format(base=tmp_path))
    before = opened.fingerprint()
    assert ids(opened, spark) == EXPECTED
    assert source(tmp_path, url.format(base=tmp_path)).fingerprint() == before


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


@pytest.mark.parametrize("says", ["ETag", "Last-Modified", ""])
def test_a_web_file_is_fetched_once_and_again_when_it_changes(spark, tmp_path, says):
    page = {"content": written(tmp_path / "e.csv").read_bytes(), "version": "1"}

    class Web(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(page["content"])))
            if says:
                self.send_header(says, page["version"])
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(page["content"])

        do_HEAD = do_GET

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Web) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/e.csv"
        opened = source(tmp_path, url)
        before, first = opened.fingerprint(), opened.files(url)
        assert ids(opened, spark) == EXPECTED
        assert source(tmp_path, url).fingerprint() == before
        assert opened.files(url) == first == source(tmp_path, url).files(url)
        page |= {"content": page["content"].replace(b"a,x", b"a,q"), "version": "2"}
        later = source(tmp_path, url)
        assert later.fingerprint() != before, "same size, other content"
        assert ("a", "q", ROWS[0]["at"]) in ids(later, spark)
        server.shutdown()


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


@pytest.mark.parametrize("name", ["e.csv", "e.parquet", "e.jsonl"])
def test_the_price_of_the_readme_is_one_over_every_kind_of_file(spark, tmp_path, name):
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    price = tomllib.loads(re.search(r"^price = .*", readme, re.MULTILINE)[0])["price"]
    written(tmp_path / name, [row | {"amount": 5.5, "quantity": n} for n, row in enumerate(ROWS)])
    events = cleaned(source(tmp_path, name, event_columns={**COLUMNS, "price": price}), spark, tmp_path)
    assert [event["price"] for event in events] == [None, 5.5, 2.75]


def test_without_a_map_our_own_names_are_taken(spark, tmp_path):
    rows = [{"user_id": "a", "item_id": "x", "event_time": 5, "other": 1}]
    opened = source(tmp_path, str(written(tmp_path / "e.jsonl", rows)), event_columns={})
    assert set(opened.events(spark).columns) == {"raw", "file", "user_id", "item_id", "event_time"}


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


def test_eight_digits_that_read_as_a_day_are_one(spark, tmp_path):
    known = {"20240102": datetime(2024, 1, 2, tzinfo=UTC), "20240231": None, "17041032": 17041032, "2024": 2024}
    written(tmp_path / "e.csv", [{"who": text, "what": "x", "at": text} for text in known])
    for row in typed_events(source(tmp_path, "e.csv"), spark):
        seconds = known[row["user_id"]]
        wanted = datetime.fromtimestamp(seconds, UTC) if isinstance(seconds, int) else seconds
        assert (row["event_time"] and row["event_time"].astimezone(UTC)) == wanted
    written(tmp_path / "e.jsonl", [{"who": "a", "what": "x", "at": 20240102}])
    [event] = typed_events(source(tmp_path, "e.jsonl"), spark)
    assert event["event_time"].astimezone(UTC) == known["20240102"]
    [event] = typed_events(source(tmp_path, "e.jsonl", time_format="seconds"), spark)
    assert event["event_time"].astimezone(UTC) == datetime.fromtimestamp(20240102, UTC)


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


def test_files_that_gained_a_column(spark, tmp_path):
    written(tmp_path / "e/1.parquet", ROWS[:1])
    written(tmp_path / "e/2.parquet", [{**ROWS[1], "units": 3}])
    opened = source(tmp_path, "e", event_columns={**COLUMNS, "value": "units"})
    assert sorted((r["user_id"], r["value"]) for r in opened.events(spark).collect()) == [("a", None), ("b", 3)]
