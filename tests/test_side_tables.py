"""Items and users beside the events: one row per id, always there, their broken rows in the quarantine."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from narrows.asof import Asof
from narrows.audit.contract import audit, read
from narrows.columns import ITEM_COLUMNS, USER_COLUMNS
from narrows.source.errors import SourceError
from narrows.stage import Output
from narrows.store.write import write_table
from stages.events import Events
from stages.events.side_tables import one_row_per_id
from tests.source_files import ROWS, source, written

CONTRACTS = Path(__file__).parents[1] / "stages/events"


def transformed(spark, folder: Path, **given) -> Output:
    written(folder / "e.csv")
    opened = source(folder, "e.csv", **given)
    return Events(max_bad_share=1.0).transform(session=spark, source=opened, asof=Asof.parse("2024-01-09"))


def saved(output: Output, folder: Path, name: str) -> pa.Table:
    """A side table as it is published, after the audit of its contract."""
    write_table(output.side_tables[name], folder / name)
    dataset = ds.dataset(folder / name)
    result = audit("events", dataset, folder / "docs", "v", "2024-01-09", terms=read(CONTRACTS / f"{name}.yml"))
    assert result.success, result.failed
    return dataset.to_table().sort_by(dataset.schema.names[0])


def quarantined(output: Output) -> list[tuple[str, dict]]:
    return sorted((row["reason"], json.loads(row["raw"])) for row in output.side_tables["quarantine"].collect())


def test_without_side_tables_they_are_empty_and_have_all_columns(spark, tmp_path):
    output = transformed(spark, tmp_path)
    for name, columns in (("items", ITEM_COLUMNS), ("users", USER_COLUMNS)):
        table = saved(output, tmp_path, name)
        instants = {"available_at": pa.timestamp("us", "UTC")}
        assert table.schema == pa.schema([(column, instants.get(column, pa.string())) for column in columns])
        assert table.num_rows == 0
        assert output.notes["side_tables"][name] == {"received": 0, "quarantine": {}}
    assert "quarantine" not in output.side_tables


@pytest.mark.parametrize("ending", ["csv", "parquet", "jsonl"])
def test_columns_that_the_source_lacks_are_null_and_ids_are_text(spark, tmp_path, ending):
    written(tmp_path / f"i.{ending}", [{"sku": 7, "kind": "k", "unused": 2}, {"sku": 8, "kind": " ", "unused": 2}])
    columns = {"item_id": "sku", "category": "kind"}
    output = saved(transformed(spark, tmp_path, items=f"i.{ending}", item_columns=columns), tmp_path, "items")
    nothing = dict.fromkeys(("title", "subcategory", "brand", "department", "available_at"))
    assert output.to_pylist() == [
        {"item_id": "7", "category": "k", **nothing}, {"item_id": "8", "category": None, **nothing}
    ]  # fmt: skip


def test_broken_rows_go_to_the_quarantine_with_the_reason_and_are_counted(spark, tmp_path, caplog):
    (tmp_path / "i.csv").write_text('item_id,title,category\n1,"two\nlines",c\n2,plain,c\n3,short\n ,nameless,c\n')
    (tmp_path / "u.jsonl").write_text('{"user_id": "a", "segment": "s"}\n{"user_id": null, "segment": "t"}\n{"user_\n')
    output = transformed(spark, tmp_path, items="i.csv", users="u.jsonl")
    items = saved(output, tmp_path, "items").select(["item_id", "title"]).to_pylist()
    assert items == [{"item_id": "1", "title": "two\nlines"}, {"item_id": "2", "title": "plain"}]
    assert saved(output, tmp_path, "users").to_pylist() == [{"user_id": "a", "segment": "s"}]
    broken = quarantined(output)
    assert [reason for reason, _ in broken] == [
        "items: no item_id", "items: unreadable row", "users: no user_id", "users: unreadable row"
    ]  # fmt: skip
    assert broken[0][1]["title"] == "nameless"
    assert broken[1][1]["_corrupt"] == "3,short"
    assert broken[2][1]["segment"] == "t"
    assert broken[3][1]["_corrupt"] == '{"user_'
    assert output.notes["side_tables"] == {
        "items": {"received": 4, "quarantine": {"no item_id": 1, "unreadable row": 1}},
        "users": {"received": 3, "quarantine": {"no user_id": 1, "unreadable row": 1}},
    }
    assert output.notes["quarantine"] == {}, "events are counted alone"
    assert output.notes["received"] == len(ROWS)
    assert "items: broken rows go to the quarantine: {'no item_id': 1, 'unreadable row': 1}" in caplog.text


SPOILED = ["soon", "2300-01-01", "1969-12-31T23:59:59", "12:30", "9e99", "-1"]
READ = {
    "2024-01-05T06:00:00": 1704434400, "2024-01-05 07:00:00+01:00": 1704434400, "1704434400": 1704434400,
    "1704434400000": 1704434400, "20240105": 1704412800, "2024-01-05": 1704412800,
}  # fmt: skip


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_what_is_no_instant_is_null_with_a_count_and_the_row_stays(spark, tmp_path, ending, caplog):
    """Numbers, text of many kinds, days in digits; null and blank are no error."""
    given = [*SPOILED, *READ, None, " "]
    written(tmp_path / f"i.{ending}", [{"item_id": f"{n:02}", "title": "t", "out": at} for n, at in enumerate(given)])
    output = transformed(
        spark, tmp_path, items=f"i.{ending}", item_columns={"item_id": "item_id", "title": "title", "available_at": "out"}
    )  # fmt: skip
    items = saved(output, tmp_path, "items")
    assert items["title"].to_pylist() == ["t"] * len(given)
    at = [each and each.timestamp() for each in items["available_at"].to_pylist()]
    assert at == [None] * len(SPOILED) + list(READ.values()) + [None, None]
    assert output.notes["side_tables"]["items"] == {
        "received": len(given), "quarantine": {}, "unread": {"available_at": len(SPOILED)}
    }  # fmt: skip
    assert f"items: {len(SPOILED)} rows have no readable available_at" in caplog.text


def test_an_instant_may_be_a_timestamp_or_an_expression_and_nothing_else(spark, tmp_path):
    at = datetime(2024, 1, 5, 6, tzinfo=UTC)
    written(tmp_path / "i.parquet", [{"item_id": "a", "out": at, "year": "1998", "old": True}])
    for column, value in (("out", at), ("make_date(cast(year as int), 1, 1)", datetime(1998, 1, 1, tzinfo=UTC))):
        columns = {"item_id": "item_id", "available_at": column}
        output = transformed(spark, tmp_path, items="i.parquet", item_columns=columns)
        assert saved(output, tmp_path / column[:3], "items")["available_at"].to_pylist() == [value]
    with pytest.raises(SourceError, match=r"item_columns\.available_at is boolean\. Map a timestamp"):
        transformed(spark, tmp_path, items="i.parquet", item_columns={"item_id": "item_id", "available_at": "old"})


def test_of_several_rows_of_one_item_the_first_instant_is_kept(spark):
    rows = spark.createDataFrame(
        [("a", datetime(2024, 1, 7)), ("a", datetime(2024, 1, 5)), ("a", None)],
        "item_id string, available_at timestamp",
    )
    [one] = one_row_per_id(rows, ("item_id", "available_at")).collect()
    assert one.available_at.day == 5


def test_broken_events_and_broken_items_share_the_quarantine(spark, tmp_path):
    (tmp_path / "i.csv").write_text("item_id,title\n,nameless\n")
    written(tmp_path / "broken.csv", [*ROWS, {**ROWS[0], "who": ""}])
    opened = source(tmp_path, "broken.csv", items="i.csv")
    output = Events(max_bad_share=1.0).transform(session=spark, source=opened, asof=Asof.parse("2024-01-09"))
    assert [reason for reason, _ in quarantined(output)] == ["items: no item_id", "no user_id"]
    assert saved(output, tmp_path, "items").num_rows == 0, "a table of broken rows alone is empty, and there"
    write_table(output.side_tables["quarantine"], tmp_path / "quarantine")
    assert ds.dataset(tmp_path / "quarantine").count_rows() == 2


def test_of_several_rows_of_one_id_a_value_comes_before_none(spark):
    rows = spark.createDataFrame(
        [("zed", None, "b"), ("zed", "q", None), ("zed", "q", "c"), ("zed", "r", "a"), ("one", None, None)],
        "user_id string, segment string, title string",
    )
    output = one_row_per_id(rows, ("user_id", "segment", "title")).orderBy("user_id").collect()
    assert output == [("one", None, None), ("zed", "q", "c")]


def test_the_order_of_the_source_changes_nothing(spark, tmp_path):
    rows = [{"item_id": f"i{n % 40}", "title": None if n % 3 else f"t{n}", "brand": f"b{n % 7}"} for n in range(200)]
    tables = []
    for folder, given in (("one", rows), ("other", rows[::-1])):
        written(tmp_path / folder / "i.parquet", given)
        output = transformed(spark, tmp_path / folder, items="i.parquet")
        write_table(output.side_tables["items"], tmp_path / folder / "items")
        tables.append([file.read_bytes() for file in sorted((tmp_path / folder / "items").iterdir())])
    assert tables[0] == tables[1]
