"""The source's items and users tables, cleaned: beside the events, one row per id."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial, reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from narrows.columns import AVAILABLE_AT, ITEM_COLUMNS, USER_COLUMNS
from narrows.engine.spark import Parts, write_part
from narrows.source.tabular import reading
from narrows.stage import Asof, Output
from stages.events.periods import Once
from stages.events.rows import instant

if TYPE_CHECKING:
    import pyarrow as pa

    from narrows.source.files import Source

LOG = logging.getLogger(__name__)
COLUMNS = {"items": ITEM_COLUMNS, "users": USER_COLUMNS}
"""The side tables; the first column is the id."""
QUARANTINE = "quarantine"
UNREAD = "unread"
"""Whether an item's ``available_at`` was given and is no instant."""
YEARS = (1970, 2200)
"""The first and the last that an instant may lie in."""


@dataclass(frozen=True)
class SideTable:
    """A side table as the source has it, judged, and how many of its rows are good."""

    name: str
    rows: DataFrame | None
    """Raw rows with ``reason``: why a row breaks the contract, null where it does not. None where the source has no table."""
    counts: dict[str | None, int]
    """Rows by reason."""
    unread: int = 0
    """Good rows whose ``available_at`` is null, as what the source has is no instant between 1970 and 2200."""

    @property
    def broken(self) -> dict[str, int]:
        return {reason: count for reason, count in self.counts.items() if reason is not None}


def with_side_tables(outputs: Mapping[Asof, Output], source: Source, session: Any) -> dict[Asof, Output]:
    """Outputs with the tables ``items`` and ``users`` beside them, their broken rows in the quarantine, and their counts.

    The tables are always there, with all their columns (text and one instant, null where the source lacks them), if need be
    empty. The note ``side_tables`` has for each the rows ``received`` and the ``quarantine`` (rows by reason), and, where
    there are any, the values of a column that are ``unread``: no instant, so that the row has none.

    Raises:
        SourceError: a table cannot be read.
    """
    tables = _judged({"items": source.items(session), "users": source.users(session)})
    published: dict[str, Any] = {}
    notes: dict[str, dict[str, Any]] = {}
    broken = []
    for table in tables:
        if table.rows is not None and table.broken:
            LOG.warning("[source] %s: broken rows go to the quarantine: %s", table.name, table.broken)
            broken.append(_quarantine(table.name, table.rows))
        published[table.name] = _clean(table)
        notes[table.name] = {"received": sum(table.counts.values()), "quarantine": table.broken}
        if table.unread:
            LOG.warning("[source] %s: %s rows have no readable %s", table.name, table.unread, AVAILABLE_AT)
            notes[table.name][UNREAD] = {AVAILABLE_AT: table.unread}

    once: dict[int, Any] = {}

    def shared(data: Any, *more: DataFrame) -> Any:
        """``data`` with ``more`` rows, which several outputs have but one writes."""
        if id(data) not in once:
            whole = reduce(DataFrame.unionByName, more, data) if more else data
            once[id(data)] = Once(whole) if len(outputs) > 1 else whole
        return once[id(data)]

    def beside(output: Output) -> dict[str, Any]:
        sides = output.side_tables | {name: shared(data) for name, data in published.items()}
        own = output.side_tables.get(QUARANTINE)
        if own is not None or broken:
            sides[QUARANTINE] = shared(broken[0], *broken[1:]) if own is None else shared(own, *broken)
        return sides

    return {
        asof: Output(output.data, {**output.notes, "side_tables": notes}, beside(output))
        for asof, output in outputs.items()
    }


def one_row_per_id(rows: DataFrame, columns: tuple[str, ...]) -> DataFrame:
    """``columns`` as text (``available_at`` as it is), one row per id (the first of them), in its order within a partition.

    Of several rows the smallest is kept, where any value is less than none. Columns that ``rows`` lack are null.
    """
    key, *others = columns
    kinds = {name: "timestamp" if name == AVAILABLE_AT else "string" for name in columns}
    given = {name: F.col(name) if name in rows.columns else F.lit(None) for name in columns}
    typed = [given[name].cast(kind).alias(name) for name, kind in kinds.items()]
    # which of several rows is kept must not depend on the order of reading; a struct's nulls would come first
    ranked = [part for name in others for part in (F.isnull(name).alias(f"no_{name}"), F.col(name))]
    one = F.min(F.struct(*ranked)).alias("one")
    kept = [F.col(f"one.{name}") for name in others]
    return rows.select(*typed).groupBy(key).agg(one).select(key, *kept).sortWithinPartitions(key)


def with_instant(rows: DataFrame) -> DataFrame:
    """Raw rows with ``available_at`` as an instant, null where there is none, and whether one was given and is ``unread``.

    Raises:
        SourceError: the column is of a type that has no instants.
    """
    if AVAILABLE_AT not in rows.columns:
        return rows.withColumn(UNREAD, F.lit(False))
    read = instant(rows, AVAILABLE_AT, "auto", "item_columns")
    read = F.when(F.year(read).between(*YEARS), read)
    given = F.coalesce(F.trim(F.col(AVAILABLE_AT).cast("string")), F.lit("")) != ""
    return rows.withColumns({AVAILABLE_AT: read, UNREAD: given & read.isNull()})


def _judged(tables: dict[str, DataFrame | None]) -> list[SideTable]:
    """The tables with their counts, which one job finds."""
    given = {
        name: with_instant(rows).withColumn("reason", _reason(rows, COLUMNS[name][0]))
        for name, rows in tables.items()
        if rows is not None
    }
    counts: dict[str, dict[str | None, int]] = {name: {} for name in tables}
    unread = dict.fromkeys(tables, 0)
    if given:
        reasons = [rows.select(F.lit(name).alias("table"), "reason", UNREAD) for name, rows in given.items()]
        counted = reduce(DataFrame.unionByName, reasons).groupBy("table", "reason")
        with reading():
            for row in counted.agg(F.count("*").alias("rows"), F.count_if(UNREAD).alias(UNREAD)).collect():
                counts[row["table"]][row["reason"]] = row["rows"]
                unread[row["table"]] += row[UNREAD] if row["reason"] is None else 0
    return [
        SideTable(name, given.get(name), dict(sorted(counts[name].items(), key=str)), unread[name]) for name in tables
    ]


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

    at = pa.timestamp("us", "UTC")
    schema = pa.schema([(name, at if name == AVAILABLE_AT else pa.string()) for name in COLUMNS[table.name]])
    if table.rows is None or not table.counts.get(None):
        return schema.empty_table()  # Spark writes no file for a table without partitions
    good = table.rows.where(F.col("reason").isNull())
    return Parts(one_row_per_id(good, COLUMNS[table.name]), partial(_write, schema=schema))


def _write(batches: Iterator[pa.RecordBatch], folder: Path, schema: pa.Schema) -> None:
    import pyarrow as pa

    write_part(pa.Table.from_batches(list(batches), schema), folder)
