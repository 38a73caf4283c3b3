"""Rows of a source, each column with its type and each row judged: an event, or the reason why it is none."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import BooleanType, DateType, NumericType, StringType, TimestampNTZType, TimestampType

from narrows.columns import (
    CONTEXT,
    EVENT_COLUMNS,
    EVENT_TIME,
    EVENT_TYPE,
    INGESTED_AT,
    ITEM,
    KIND,
    POSITION,
    PRICE,
    PROPENSITY,
    SESSION,
    USER,
    VALUE,
    WEIGHT,
)
from narrows.kinds import POSITIVE
from narrows.settings import SourceSettings
from narrows.source.errors import SourceError
from narrows.source.mapped import FILE

NOT_KNOWN_YET = "not known yet"
KEPT_OUT = "kept out by where"
DUPLICATE = "duplicate"
NO_KIND = "event_type of no kind: "
"""Before the event type, the reason of a row whose type ``[source.kinds]`` does not name."""
LISTED_TYPES = 5
"""Event types that a message names."""
MAX_POSITION = 1_000_000_000
YEARS = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
"""The first and the last instant of an event."""
MAX_SECOND = 7.3e9
"""Seconds since 1970 that are still an instant (the year 2201)."""
MILLISECONDS_FROM = 1e11
"""A bare number above this is milliseconds since 1970 (seconds would mean the year 5138)."""
DAY_IN_DIGITS = r"^\s*(19[7-9]\d|20\d\d)(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])\s*$"
"""Eight digits that read as a day: as seconds they would all lie in August 1970."""


def require_kinds(reasons: Mapping[str, int]) -> None:
    """Refuse rows of types that no list of ``[source.kinds]`` names; ``reasons`` has the count of each.

    Raises:
        SourceError: there are such rows; the message has their types and counts.
    """
    unnamed = {reason.removeprefix(NO_KIND): count for reason, count in reasons.items() if reason.startswith(NO_KIND)}
    if unnamed:
        most = sorted(unnamed, key=lambda each: (-unnamed[each], each))
        shown = ", ".join(f"{each!r} ({unnamed[each]:,} rows)" for each in most[:LISTED_TYPES])
        more = f" and {len(most) - LISTED_TYPES} more" if len(most) > LISTED_TYPES else ""
        raise SourceError(
            f"[source.kinds] names no kind of event_type {shown}{more}. Add them to positive, context, exposure or undo, or "
            f"""leave their rows out: [source] where = "event_type not in ('{most[0]}')"."""
        )


def typed(raw: DataFrame, source: SourceSettings) -> DataFrame:
    """Every event column with its type; what cannot be read becomes null and, where it was given, a ``bad_*`` flag."""
    have = set(raw.columns)

    def text(name: str) -> Column:
        return F.col(name) if name in have else F.lit(None).cast("string")

    def number(name: str) -> Column:
        return F.expr(f"try_cast(`{name}` as double)") if name in have else F.lit(None).cast("double")

    event_time = instant(raw, EVENT_TIME, source.time_format)
    ingested = instant(raw, INGESTED_AT, source.time_format) if INGESTED_AT in have else event_time
    lost = F.col(INGESTED_AT).isNotNull() & ingested.isNull() if INGESTED_AT in have else F.lit(False)
    user, anonymous = text(USER), F.lit(False)
    if source.anonymous:
        if SESSION not in have:
            raise SourceError(
                "[source] anonymous = true needs session_id in event_columns: users are made from it. Map it, or remove anonymous."
            )
        anonymous = user.isNull() & text(SESSION).isNotNull()
        user = F.coalesce(user, F.concat(F.lit("anonymous:"), text(SESSION)))

    def unread(*names: str) -> Column:
        broken = F.lit(False)
        for name in set(names) & have:
            broken = broken | (F.col(name).isNotNull() & (number(name).isNull() | F.isnan(number(name))))
        return broken

    position, propensity = number(POSITION), number(PROPENSITY)
    outside = F.coalesce(~position.between(0, MAX_POSITION) | (position != F.floor(position)), F.lit(False))
    outside = outside | F.coalesce(~((propensity > 0) & (propensity <= 1)), F.lit(False))
    rows = raw.select(
        user.alias(USER), text(ITEM).alias(ITEM), event_time.alias(EVENT_TIME),
        F.coalesce(ingested, event_time).alias(INGESTED_AT),
        F.coalesce(text(EVENT_TYPE), F.lit(source.event_type)).alias(EVENT_TYPE), number(VALUE).alias(VALUE),
        number(PRICE).alias(PRICE), text(CONTEXT).alias(CONTEXT), text(SESSION).alias(SESSION),
        F.when(~outside, position.cast("int")).alias(POSITION), propensity.alias(PROPENSITY), "raw",
        unread(VALUE, PRICE).alias("bad_number"), (unread(POSITION, PROPENSITY) | outside).alias("bad_exposure"),
        lost.alias("bad_arrival"), (F.col("corrupt") if "corrupt" in have else F.lit(False)).alias("corrupt"),
        anonymous.alias("anonymous"), (F.col(FILE) if FILE in have else F.lit(None).cast("string")).alias(FILE),
    )  # fmt: skip
    return with_kind(rows, source).withColumn("wanted", _where(rows, source.where))


def with_kind(rows: DataFrame, source: SourceSettings) -> DataFrame:
    """``rows`` with ``kind`` (null of a type that no list names) and ``weight``, the label weight of positives."""

    def of(values: dict[str, Any], default: Any) -> Column:
        column = F.lit(default)
        for value in dict.fromkeys(values.values()):
            types = [each for each, given in values.items() if given == value]
            column = F.when(F.col(EVENT_TYPE).isin(types), F.lit(value)).otherwise(column)
        return column

    kinds = source.kinds
    kind, weight = of(kinds.kind_of, None if kinds.kind_of else POSITIVE), of(kinds.weights, 1.0)
    rows = rows.withColumn(KIND, kind.cast("string"))
    return rows.withColumn(WEIGHT, F.when(F.col(KIND) == POSITIVE, weight.cast("float")))


def _where(rows: DataFrame, condition: str) -> Column:
    """``[source] where`` as a column: null where it cannot tell."""
    if not condition:
        return F.lit(True)
    known = f"It may use {', '.join(EVENT_COLUMNS)}."
    try:
        kind = rows.select(*EVENT_COLUMNS).select(F.expr(condition)).schema[0].dataType
    except PySparkException as error:
        said = str(error).strip().splitlines()[0]
        raise SourceError(f"[source] where = {condition!r}: Spark says: {said} {known}") from error
    if not isinstance(kind, BooleanType):
        raise SourceError(
            f"[source] where = {condition!r} is {kind.simpleString()}, not true or false. Write a condition, such as "
            f"value >= 4. {known}"
        )
    return F.expr(condition)


def judged(rows: DataFrame, max_clock_skew_hours: float, limit: datetime) -> DataFrame:
    """Add ``reason``: why a row breaks the contract, null where it does not; ``NOT_KNOWN_YET`` where it is not known yet.

    A row for which ``where`` is false is ``KEPT_OUT``; where it cannot tell, a broken row is broken and others are kept out.
    """
    ahead = F.col(EVENT_TIME).cast("double") - F.col(INGESTED_AT).cast("double")
    rules = [
        (KEPT_OUT, ~F.col("wanted")),
        ("unreadable row", F.col("corrupt")),
        ("no user_id", F.col(USER).isNull()),
        ("no item_id", F.col(ITEM).isNull()),
        ("no readable event_time", F.col(EVENT_TIME).isNull()),
        ("event_time outside 1970 to 2200", ~F.col(EVENT_TIME).between(*map(F.lit, YEARS))),
        ("no readable ingested_at", F.col("bad_arrival")),
        ("value or price is not a number", F.col("bad_number")),
        ("event_time after its arrival", ahead > max_clock_skew_hours * 3600),
        ("position or propensity is out of range", F.col("bad_exposure")),
        (KEPT_OUT, F.col("wanted").isNull()),
        (NOT_KNOWN_YET, (F.col(EVENT_TIME) >= F.lit(limit)) | (F.col(INGESTED_AT) >= F.lit(limit))),
    ]
    reason = F.coalesce(*[F.when(broken, F.lit(why)) for why, broken in rules])
    reason = F.coalesce(reason, F.when(F.col(KIND).isNull(), F.concat(F.lit(NO_KIND), F.left(EVENT_TYPE, F.lit(60)))))
    return rows.withColumn("reason", reason)


def instant(raw: DataFrame, name: str, time_format: str, key: str = "event_columns") -> Column:
    """A UTC timestamp out of seconds, milliseconds, ISO 8601 or a timestamp column; null if it cannot be read.

    ``key`` is the column map that a message names.
    """
    if name not in raw.columns:
        raise SourceError(f"[source] {key} has no {name}. Map it to the column that holds it.")
    kind, column = raw.schema[name].dataType, F.col(name)
    if isinstance(kind, TimestampType | TimestampNTZType | DateType):
        return column.cast("timestamp")
    if not isinstance(kind, NumericType | StringType):
        raise SourceError(f"[source] {key}.{name} is {kind.simpleString()}. Map a timestamp, a number or text.")
    number = column.cast("double") if isinstance(kind, NumericType) else F.expr(f"try_cast(`{name}` as double)")
    seconds = number / 1000 if time_format == "milliseconds" else number
    if time_format == "auto":
        seconds = F.when(F.abs(number) > MILLISECONDS_FROM, number / 1000).otherwise(number)
    inside = F.when(F.abs(seconds) < MAX_SECOND, F.timestamp_micros(F.rint(seconds * 1_000_000).cast("long")))
    # only what starts with a year: Spark would put a bare time of day on the day of the run
    text = column.cast("string")
    written = F.when(text.rlike(r"^\s*\d{4}-"), F.expr(f"try_cast(cast(`{name}` as string) as timestamp)"))
    either = F.when(text.rlike(DAY_IN_DIGITS), F.try_to_timestamp(F.trim(text), F.lit("yyyyMMdd")))
    either = either.otherwise(F.coalesce(inside, written))
    return {"iso": written, "auto": either}.get(time_format, inside)
