"""Sources: an error in a description or a file is reported with the file, the key and the remedy."""

from __future__ import annotations

import gzip
import uuid
from pathlib import Path

import pytest

from narrows.asof import Asof
from narrows.source.errors import SourceError
from narrows.source.tabular import reading
from stages.events import Events
from tests.source_files import COLUMNS, ROWS, source, written


@pytest.mark.parametrize(
    ("given", "says"),
    [
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
        ({"value": "units * 2"}, r"event_columns.value = 'units \* 2': .* has no such column"),
        ({"value": "who +"}, "event_columns.value .*PARSE_SYNTAX_ERROR"),
        (
            {"price": "who / nullif(what, 0)"},
            r"event_columns.price .*BINARY_OP_WRONG_TYPE.*text: .* try_cast\(column as double\)",
        ),
    ],
)
def test_a_missing_column_is_named_with_the_file_and_what_there_is(spark, tmp_path, columns, says):
    written(tmp_path / "e.csv")
    with pytest.raises(SourceError, match=says):
        source(tmp_path, "e.csv", event_columns=COLUMNS | columns).events(spark)


def broken_files(folder: Path) -> None:
    """Files with one error each."""
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
    rows = [{**ROWS[0], "who": uuid.uuid5(uuid.NAMESPACE_OID, str(n)).hex} for n in range(20_000)]
    file = written(tmp_path / name, rows)
    data = bytearray(file.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 2000] = bytes(2000)
    file.write_bytes(data)
    opened = source(tmp_path, name)
    with pytest.raises(SourceError, match=f"{name} is damaged"):
        Events().transform(session=spark, source=opened, asof=Asof.parse("2024-01-09"))


@pytest.mark.parametrize("name", ["e.csv", "e.tsv.gz"])
def test_text_that_is_not_utf8_is_named_with_its_line(spark, tmp_path, name):
    file = written(tmp_path / name, ROWS * 10_000 + [{**ROWS[0], "who": "caf?"}])
    gz = name.endswith(".gz")
    data = gzip.decompress(file.read_bytes()) if gz else file.read_bytes()
    data = data.replace(b"caf?", b"caf\xe9")
    file.write_bytes(gzip.compress(data) if gz else data)
    with pytest.raises(SourceError, match=rf"{name} cannot be read \(line 30002: .*0xe9.*It must be UTF-8 text"):
        source(tmp_path, name).events(spark)


def test_an_expression_that_fails_on_a_row_says_so(spark, tmp_path):
    written(tmp_path / "e.csv", [{**row, "cents": "free"} for row in ROWS])
    opened = source(tmp_path, "e.csv", event_columns={**COLUMNS, "price": "cents / 100"})
    with pytest.raises(SourceError, match=r"expression of the column map, or where, fails on a row.*free.*try_cast"):
        Events().transform(session=spark, source=opened, asof=Asof.parse("2024-01-09"))
