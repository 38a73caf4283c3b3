"""When a source's rows became known, read with Polars: the same answer as the run's own cleaning, or none.

The run reads times with Spark, which knows more ways to write them, and a column map may hold Spark expressions.
Where Polars might answer otherwise, there is no answer here, and the caller asks Spark.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from narrows.columns import EVENT_TIME, INGESTED_AT, ITEM, USER
from narrows.source.files import Source
from narrows.source.frames import rows, scan
from narrows.source.tabular import kind_of

if TYPE_CHECKING:
    import polars as pl

MAX_SECOND = 7.3e9
"""Seconds since 1970 that are still an instant (the year 2201)."""
MILLISECONDS_FROM = 1e11
"""A bare number above this is milliseconds since 1970."""
DAY_IN_DIGITS = r"^(19[7-9]\d|20\d\d)(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])$"
WITH_YEAR = r"^\d{4}-"
FORMATS = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d", "%Y-%m-%d %H:%M")
ZONED = "%Y-%m-%d %H:%M:%S%.f%:z"


def seconds(name: str, kind: pl.DataType, time_format: str = "auto") -> pl.Expr | None:
    """A column's instants in seconds since 1970, null where there is none; None for a type that Polars is not asked."""
    import polars as pl

    column = pl.col(name)
    if kind == pl.Date or isinstance(kind, pl.Datetime):
        return column.cast(pl.Datetime("us", getattr(kind, "time_zone", None))).dt.epoch("us") / 1e6
    if kind.is_integer() or kind.is_float():
        return _of_number(column.cast(pl.Float64), time_format) if time_format != "iso" else None
    if kind != pl.String:
        return None
    text = column.str.strip_chars()
    number = _of_number(text.cast(pl.Float64, strict=False), time_format)
    plain = text.str.replace(r"^(\d{4}-\d{2}-\d{2})T", "$1 ").str.replace(r"Z$", "")
    days = text.str.contains(DAY_IN_DIGITS)
    written = [plain.str.to_datetime(form, strict=False, time_unit="us").dt.epoch("us") / 1e6 for form in FORMATS]
    written.append(plain.str.to_datetime(ZONED, strict=False, time_unit="us").dt.epoch("us") / 1e6)
    iso = pl.when(text.str.contains(WITH_YEAR)).then(pl.coalesce(written))
    day = text.str.to_datetime("%Y%m%d", strict=False, time_unit="us").dt.epoch("us") / 1e6
    auto = pl.when(days).then(day).otherwise(pl.coalesce(number, iso))
    return {"auto": auto, "iso": iso}.get(time_format, number)


def known_periods(source: Source, grain: timedelta, max_skew: timedelta) -> dict[int, int] | None:
    """How many rows became known in each period (`Asof.period`), broken rows left out; None where Polars is not sure.

    Args:
        source: an opened source.
        grain: the length of a period.
        max_skew: a row that is dated later than this after its own arrival is broken.

    Raises:
        SourceError: a file is missing or cannot be read.
    """
    import polars as pl

    settings, files = source.settings, source.files(source.settings.events)
    if kind_of(files[0]) == "json":  # Polars guesses types from the first lines, Spark from all
        return None
    if settings.where or settings.anonymous:
        return None
    frame = scan(files)
    schema = frame.collect_schema()
    columns = settings.event_columns or {name: name for name in schema if name in (USER, ITEM, EVENT_TIME, INGESTED_AT)}
    if not all(columns.get(name) in schema for name in (USER, ITEM, EVENT_TIME)):
        return None  # an expression, or a mistake that Spark words
    happened = seconds(columns[EVENT_TIME], schema[columns[EVENT_TIME]], settings.time_format)
    arrived = happened
    if INGESTED_AT in columns:
        if columns[INGESTED_AT] not in schema:
            return None
        arrived = seconds(columns[INGESTED_AT], schema[columns[INGESTED_AT]], settings.time_format)
    if happened is None or arrived is None:
        return None
    instants = frame.select(
        pl.all_horizontal(_is_id(columns[name], schema[columns[name]]) for name in (USER, ITEM)).alias("ids"),
        happened.alias("happened"),
        _arrival(columns, happened, arrived).alias("arrived"),
        _unread(columns, schema, happened, arrived).alias("unread"),
    )
    given = (
        pl.col("happened").is_not_null() & pl.col("arrived").is_not_null()
    )  # an arrival that cannot be read is broken
    skewed = pl.col("happened") - pl.col("arrived") > max_skew.total_seconds()
    period = pl.max_horizontal("happened", "arrived").floordiv(int(grain.total_seconds())).cast(pl.Int64)
    good = pl.col("ids") & given & ~skewed & (pl.col("happened") >= 0)
    counted = instants.group_by(pl.when(good).then(period).alias("period")).agg(pl.len(), pl.col("unread").any())
    found = rows(counted, files[0])
    if found["unread"].any():
        return None
    return {period: count for period, count, _ in found.sort("period").iter_rows() if period is not None}


def _of_number(number: pl.Expr, time_format: str) -> pl.Expr:
    import polars as pl

    if time_format == "milliseconds":
        number = number / 1000
    elif time_format == "auto":
        number = pl.when(number.abs() > MILLISECONDS_FROM).then(number / 1000).otherwise(number)
    return pl.when(number.is_finite() & (number.abs() < MAX_SECOND)).then(number)


def _is_id(name: str, kind: pl.DataType) -> pl.Expr:
    import polars as pl

    column = pl.col(name)
    if kind == pl.String:
        return column.str.strip_chars().str.len_bytes().fill_null(0) > 0
    return column.is_not_null() & column.is_not_nan() if kind.is_float() else column.is_not_null()


def _arrival(columns: dict[str, str], happened: pl.Expr, arrived: pl.Expr) -> pl.Expr:
    """A row that says nothing of its arrival arrived when it happened."""
    import polars as pl

    if INGESTED_AT not in columns:
        return happened
    return pl.when(pl.col(columns[INGESTED_AT]).is_null()).then(happened).otherwise(arrived)


def _unread(columns: dict[str, str], schema: pl.Schema, happened: pl.Expr, arrived: pl.Expr) -> pl.Expr:
    """Whether a text looks like a time and Polars did not read it: Spark might."""
    import polars as pl

    checks = []
    for name, read in ((EVENT_TIME, happened), (INGESTED_AT, arrived)):
        if name in columns and schema[columns[name]] == pl.String:
            looks = pl.col(columns[name]).str.contains(r"^\s*\d{4}-").fill_null(False)
            checks.append(looks & read.is_null())
    return pl.any_horizontal(checks) if checks else pl.lit(False)
