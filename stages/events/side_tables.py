"""The source's items and users tables, cleaned: beside the events, one row per id."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial, reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from narrows.columns import ITEM_COLUMNS, USER_COLUMNS
from narrows.engine.spark import Parts, write_part
from narrows.source.tabular import reading
from narrows.stage import Output

if TYPE_CHECKING:
    import pyarrow as pa

    from narrows.source.files import Source

LOG = logging.getLogger(__name__)
COLUMNS = {"items": ITEM_COLUMNS, "users": USER_COLUMNS}
"""The side tables; the first column is the id."""
QUARANTINE = "quarantine"


@dataclass(frozen=True)
class SideTable:
    """A side table as the source has it, judged, and how many of its rows are good."""

    name: str
    rows: DataFrame | None
    """Raw rows with ``reason``: why a row breaks the contract, null where it does not. None where the source has no table."""
    counts: dict[str | None, int]
    """Rows by reason."""

    @property
    def broken(self) -> dict[str, int]:
        return {reason: count for reason, count in self.counts.items() if reason is not None}


def with_side_tables(output: Output, source: Source, session: Any) -> Output:
    """``output`` with the tables ``items`` and ``users`` beside it, their broken rows in its quarantine, and their counts.

    The tables are always there, with all their columns (text, null where the source lacks them), if need be empty. The
    note ``side_tables`` has for each the rows ``received`` and the ``quarantine`` (rows by reason).

    Raises:
        SourceError: a table cannot be read.
    """
    tables = _judged({"items": source.items(session), "users": source.users(session)})
    published, notes = dict(output.side_tables), {}
    for table in tables:
        if table.rows is not None and table.broken:
            LOG.warning("[source] %s: broken rows go to the quarantine: %s", table.name, table.broken)
            broken = _quarantine(table.name, table.rows)
            published[QUARANTINE] = published[QUARANTINE].unionByName(broken) if QUARANTINE in published else broken
        published[table.name] = _clean(table)
        notes[table.name] = {"received": sum(table.counts.values()), "quarantine": table.broken}
    return Output(output.data, {**output.notes, "side_tables": notes}, published)


def one_row_per_id(rows: DataFrame, columns: tuple[str, ...]) -> DataFrame:
    """``columns`` as text, one row per id (the first of them), in its order within a partition.

    Of several rows the smallest is kept, where any value is less than none. Columns that ``rows`` lack are null.
    """
    key, *others = columns
    text = [(F.col(name) if name in rows.columns else F.lit(None)).cast("string").alias(name) for name in columns]
    # which of several rows is kept must not depend on the order of reading; a struct's nulls would come first
    ranked = [part for name in others for part in (F.isnull(name).alias(f"no_{name}"), F.col(name))]
    one = F.min(F.struct(*ranked)).alias("one")
    kept = [F.col(f"one.{name}") for name in others]
    return rows.select(*text).groupBy(key).agg(one).select(key, *kept).sortWithinPartitions(key)


def _judged(tables: dict[str, DataFrame | None]) -> list[SideTable]:
    """The tables with their counts, which one job finds."""
    given = {
        name: rows.withColumn("reason", _reason(rows, COLUMNS[name][0]))
        for name, rows in tables.items()
        if rows is not None
    }
    counts: dict[str, dict[str | None, int]] = {name: {} for name in tables}
    if given:
        reasons = [rows.select(F.lit(name).alias("table"), "reason") for name, rows in given.items()]
        with reading():
            for row in reduce(DataFrame.unionByName, reasons).groupBy("table", "reason").count().collect():
                counts[row["table"]][row["reason"]] = row["count"]
    return [SideTable(name, given.get(name), dict(sorted(counts[name].items(), key=str))) for name in tables]


def _reason(rows: DataFrame, key: str) -> Column:
    no_id = F.when(F.coalesce(F.trim(key), F.lit("")) == "", f"no {key}")
    return F.when(F.col("corrupt"), "unreadable row").otherwise(no_id) if "corrupt" in rows.columns else no_id


def _quarantine(name: str, rows: DataFrame) -> DataFrame:
    """The broken rows as the events' quarantine has them."""
    reason = F.concat(F.lit(f"{name}: "), "reason").alias("reason")
    raw = F.to_json("raw", {"ignoreNullFields": "false"}).alias("raw")
    return rows.where(F.col("reason").isNotNull()).select(reason, raw)


def _clean(table: SideTable) -> Any:
    import pyarrow as pa

    schema = pa.schema([(name, pa.string()) for name in COLUMNS[table.name]])
    if table.rows is None or not table.counts.get(None):
        return schema.empty_table()  # Spark writes no file for a table without partitions
    good = table.rows.where(F.col("reason").isNull())
    return Parts(one_row_per_id(good, COLUMNS[table.name]), partial(_write, schema=schema))


def _write(batches: Iterator[pa.RecordBatch], folder: Path, schema: pa.Schema) -> None:
    import pyarrow as pa

    write_part(pa.Table.from_batches(list(batches), schema), folder)
