"""A part of a source: some of its files, with the columns of all, and of those only what may be later than an instant."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from narrows.columns import EVENT_TIME, INGESTED_AT
from narrows.source.delimited import quoted
from narrows.source.errors import OtherColumns

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

DAYS_IN_DIGITS = (19700101, 20991231)
"""Numbers that may be days written in eight digits."""


@dataclass(frozen=True)
class Piece:
    """Files of a source that are read without the others."""

    files: list[Path]
    columns: str = ""
    """The names and types of all columns of the source, as JSON of Spark's schema (see `columns_of`); "" = those of the files."""
    since: datetime | None = None
    """Rows that became known earlier than this need not be read; Parquet's statistics leave out what they can."""


def columns_of(raw: DataFrame) -> str:
    """The names and types of a source's columns, from its mapped rows."""
    return str(raw.schema["raw"].dataType.json())


def nothing(session: SparkSession, columns: str) -> DataFrame:
    """No row, with the columns of a source."""
    from pyspark.sql.types import StructType

    return session.createDataFrame([], StructType.fromJson(json.loads(columns)))


def completed(frame: DataFrame, columns: str, file: Path) -> DataFrame:
    """The rows with all ``columns`` of the source: null where these files lack one.

    Raises:
        OtherColumns: a column that the source had not, or of another type.
    """
    from pyspark.sql import functions as F
    from pyspark.sql.types import StructType

    wanted = {field.name: field.dataType for field in StructType.fromJson(json.loads(columns))}
    for field in frame.schema:
        if field.name not in wanted:
            raise OtherColumns(f"[source] {file}: column {field.name!r} is new")
        if field.dataType != wanted[field.name]:
            had, has = wanted[field.name].simpleString(), field.dataType.simpleString()
            raise OtherColumns(f"[source] {file}: column {field.name!r} was {had} and is {has}")
    have = set(frame.columns)
    if frame.columns == [*wanted]:
        return frame
    return frame.select(
        *[F.col(quoted(name)) if name in have else F.lit(None).cast(kind).alias(name) for name, kind in wanted.items()]
    )


def not_before(frame: DataFrame, columns: dict[str, str], since: datetime, time_format: str) -> Column | None:
    """Where a row may have become known at an instant or later; None where only the cleaned row can tell.

    It is of plain comparisons of the files' own columns, so that Parquet's row groups are left out by their statistics.
    """
    event = columns.get(EVENT_TIME, "" if columns else EVENT_TIME)
    arrival = columns.get(INGESTED_AT, "" if columns or INGESTED_AT not in frame.columns else INGESTED_AT)
    found = [_from(frame, name, since, time_format) for name in (event, arrival) if name]
    if not found or any(one is None for one in found):
        return None
    return found[0] if len(found) == 1 else found[0] | found[1]  # type: ignore[operator]


def _from(frame: DataFrame, name: str, since: datetime, time_format: str) -> Column | None:
    from pyspark.sql import functions as F
    from pyspark.sql.types import NumericType, TimestampNTZType, TimestampType

    if name not in frame.columns:
        return None
    kind, column = frame.schema[name].dataType, F.col(quoted(name))
    if isinstance(kind, TimestampType):
        return column >= F.lit(since)
    if isinstance(kind, TimestampNTZType):
        return column >= F.to_timestamp_ntz(F.lit(since.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")))
    if not isinstance(kind, NumericType) or time_format == "iso":
        return None
    seconds = since.timestamp()
    if time_format == "milliseconds":
        return column >= F.lit(seconds * 1000)
    later = column >= F.lit(seconds)  # milliseconds are larger
    return later | column.between(*DAYS_IN_DIGITS) if time_format == "auto" else later
