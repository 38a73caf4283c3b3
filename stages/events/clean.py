"""Cleaning of raw events: types, the row contract, duplicates, the as-of."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F
from pyspark.sql.types import DateType, NumericType, StringType, TimestampNTZType, TimestampType

from narrows.asof import KNOWN, known_period, known_text
from narrows.columns import (
    CONTEXT,
    EVENT_COLUMNS,
    EVENT_KEY,
    EVENT_TIME,
    EVENT_TYPE,
    INGESTED_AT,
    ITEM,
    PRICE,
    SESSION,
    USER,
    VALUE,
)
from narrows.engine.spark import Parts, part_writer
from narrows.settings import SourceSettings
from narrows.source.errors import SourceError
from narrows.source.tabular import reading
from narrows.stage import Asof, Output, Table

if TYPE_CHECKING:
    import pyarrow as pa

    from stages.events import Events

NOT_KNOWN_YET = "not known yet"
MAX_LISTED_KEYS = 10_000
"""Doubled keys up to which they are listed rather than all rows sorted."""
FOLLOWING_HORIZONS = 4
"""Horizons within which rows must follow the as-of to show that the source goes on: one row dated far ahead does not."""
MAX_SECOND = 7.3e9
"""Seconds since 1970 that are still an instant (the year 2201)."""
MILLISECONDS_FROM = 1e11
"""A bare number above this is milliseconds since 1970 (seconds would mean the year 5138)."""
DAY_IN_DIGITS = r"^\s*(19[7-9]\d|20\d\d)(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])\s*$"
"""Eight digits that read as a day: as seconds they would all lie in August 1970."""


@dataclass(frozen=True)
class Periods:
    """Period by period: those of an earlier partition are the same files (links), the later ones are written.

    What is known by a period does not change with what arrives afterwards: of two copies the first is the event.
    """

    rows: Parts
    earlier: Table | None

    def save(self, folder: Path) -> None:
        for file, place in self.earlier.files() if self.earlier else ():
            target = folder / place
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(file, target)
            except OSError:  # a file system without links
                shutil.copyfile(file, target)
        self.rows.save(folder)


def clean(raw: DataFrame, source: SourceSettings, room: Events, asof: Asof, earlier: Table | None = None) -> Output:
    """Split raw rows into events and quarantine.

    ``raw`` has the source's columns by our names and ``raw``, the original row as a struct. Rows that had not happened or
    not arrived by the end of ``asof`` are no error: later partitions will have them.

    Raises:
        SourceError: nothing is known by the as-of, or too many rows are broken.
    """
    rows = judged(typed(raw, source), room.max_clock_skew_hours, asof.end)
    with reading():
        rows, seen = _deduplicated(rows, asof.grain)
    counts, last = {row[0]: row[1] for row in seen}, {row[0]: row[2] for row in seen}
    after, good, duplicates = counts.pop(NOT_KNOWN_YET, 0), counts.pop(None, 0), counts.get("duplicate", 0)
    bad = sum(counts.values()) - duplicates
    if good == 0:
        raise SourceError(
            f"[source] no usable event up to {asof} ({bad} broken rows, {after} later ones). Choose another as-of, "
            "or check event_columns and time_format."
        )
    read = good + bad + duplicates + after  # of the whole source, as `bad` is: the share is the same at every as-of
    if bad > room.max_bad_share * read:
        raise SourceError(
            f"[source] {bad} of {read} rows are broken ({', '.join(f'{k}: {v}' for k, v in sorted(counts.items()))}), "
            f"more than max_bad_share = {room.max_bad_share}. Nothing was published. Mend the source, or raise [events] max_bad_share."
        )
    begins = Asof.of_period(next(row["first"] for row in seen if row[0] is None), asof.grain)
    ends = Asof.of_period(last[None], asof.grain)
    following = next((row["first"] for row in seen if row[0] == NOT_KNOWN_YET), None)
    near = asof + FOLLOWING_HORIZONS * source.horizon_length
    goes_on = following is not None and following <= near.period
    events = rows.where(F.col("reason").isNull()).select(*EVENT_COLUMNS, known_text(known(), asof.grain).alias(KNOWN))
    if earlier:
        events = events.where(F.col(KNOWN) > str(earlier.asof))
    in_order = events.repartition(KNOWN).sortWithinPartitions(KNOWN, *EVENT_KEY)
    quarantine = rows.where(F.col("reason") != NOT_KNOWN_YET).select(
        "reason", F.to_json("raw", {"ignoreNullFields": "false"}).alias("raw")
    )
    notes = {
        "quarantine": counts, "events": good, "begins": str(begins), "ends": str(ends),
        "rows_after_asof": after, "goes_on": goes_on, "received": good + sum(counts.values()) + after,
    }  # fmt: skip
    return Output(
        Periods(Parts(in_order, _write_periods), earlier), notes, {"quarantine": quarantine} if counts else {}
    )


def known() -> Column:
    """The instant by which an event had both happened and arrived."""
    return F.greatest(EVENT_TIME, INGESTED_AT)


def _deduplicated(rows: DataFrame, grain: timedelta) -> tuple[DataFrame, list[Any]]:
    """``rows`` with the reason "duplicate" where a good row is a second copy of an event, and per reason the count, the
    last and the ``first`` period by which a row was known.

    The copy that arrived first is the event. One pass finds the keys that occur twice; only their rows are sorted, and a
    clean source has none.
    """
    good, period = F.col("reason").isNull(), known_period(known(), grain)
    grouped = rows.groupBy("reason", F.when(good, F.xxhash64(*EVENT_KEY)).alias("key"))
    by_key = grouped.agg(F.count("*").alias("rows"), F.max(period).alias("last"), F.min(period).alias("first"))
    twice = good & (F.col("rows") > 1)
    seen = (
        by_key.groupBy("reason")
        .agg(F.sum("rows"), F.max("last"), F.count_if(twice), F.min("first").alias("first"))
        .collect()
    )
    if not any(row[3] for row in seen):
        return rows, seen
    keys = [row[0] for row in by_key.where(twice).select("key").limit(MAX_LISTED_KEYS).collect()]
    candidate = good & (F.xxhash64(*EVENT_KEY).isin(keys) if len(keys) < MAX_LISTED_KEYS else F.lit(True))
    single, doubled = rows.where(~candidate), rows.where(candidate)
    earlier_first = Window.partitionBy(*EVENT_KEY).orderBy(INGESTED_AT, F.to_json("raw"))
    doubled = doubled.withColumn("reason", F.when(F.row_number().over(earlier_first) > 1, "duplicate"))
    rows = single.unionByName(doubled)
    by_reason = rows.groupBy("reason")
    first = F.min(period).alias("first")
    return rows, by_reason.agg(F.count("*"), F.max(period), first).collect()


def _write_periods(batches: Iterator[pa.RecordBatch], folder: Path) -> None:
    """One file a period; the rows come sorted by it, so that one period at a time is in memory."""
    import pyarrow as pa
    import pyarrow.compute as pc

    current = ""
    with ExitStack() as open_file:
        for batch in batches:
            for period in pc.unique(batch[KNOWN]).to_pylist():
                part = pa.table(batch).filter(pc.equal(batch[KNOWN], pa.scalar(period))).drop_columns([KNOWN])
                if period != current:
                    open_file.close()
                    writer = open_file.enter_context(part_writer(part.schema, folder / f"{KNOWN}={period}"))
                    current = period
                writer.write_table(part)


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
    kind = F.coalesce(text(EVENT_TYPE), F.lit(source.event_type))
    unread = F.lit(False)
    for name in {VALUE, PRICE} & have:
        unread = unread | (F.col(name).isNotNull() & (number(name).isNull() | F.isnan(number(name))))
    return raw.select(
        text(USER).alias(USER), text(ITEM).alias(ITEM), event_time.alias(EVENT_TIME),
        F.coalesce(ingested, event_time).alias(INGESTED_AT), kind.alias(EVENT_TYPE), number(VALUE).alias(VALUE),
        number(PRICE).alias(PRICE), text(CONTEXT).alias(CONTEXT), text(SESSION).alias(SESSION), "raw",
        unread.alias("bad_number"), lost.alias("bad_arrival"), (F.col("corrupt") if "corrupt" in have else F.lit(False)).alias("corrupt"),
    )  # fmt: skip


def judged(rows: DataFrame, max_clock_skew_hours: float, limit: datetime) -> DataFrame:
    """Add ``reason``: why a row breaks the contract, null where it does not; ``NOT_KNOWN_YET`` where it is not known yet."""
    ahead = F.col(EVENT_TIME).cast("double") - F.col(INGESTED_AT).cast("double")
    rules = [
        ("unreadable row", F.col("corrupt")),
        ("no user_id", F.col(USER).isNull()),
        ("no item_id", F.col(ITEM).isNull()),
        ("no readable event_time", F.col(EVENT_TIME).isNull()),
        ("event_time outside 1970 to 2200", ~F.year(EVENT_TIME).between(1970, 2200)),
        ("no readable ingested_at", F.col("bad_arrival")),
        ("value or price is not a number", F.col("bad_number")),
        ("event_time after its arrival", ahead > max_clock_skew_hours * 3600),
        (NOT_KNOWN_YET, (F.col(EVENT_TIME) >= F.lit(limit)) | (F.col(INGESTED_AT) >= F.lit(limit))),
    ]
    reason = F.coalesce(*[F.when(broken, F.lit(why)) for why, broken in rules])
    return rows.withColumn("reason", reason)


def instant(raw: DataFrame, name: str, time_format: str) -> Column:
    """A UTC timestamp out of seconds, milliseconds, ISO 8601 or a timestamp column; null if it cannot be read."""
    if name not in raw.columns:
        raise SourceError(f"[source] event_columns has no {name}. Map it to the column that holds it.")
    kind, column = raw.schema[name].dataType, F.col(name)
    if isinstance(kind, TimestampType | TimestampNTZType | DateType):
        return column.cast("timestamp")
    if not isinstance(kind, NumericType | StringType):
        raise SourceError(f"[source] event_columns.{name} is {kind.simpleString()}. Map a timestamp, a number or text.")
    number = column.cast("double") if isinstance(kind, NumericType) else F.expr(f"try_cast(`{name}` as double)")
    seconds = number / 1000 if time_format == "milliseconds" else number
    if time_format == "auto":
        seconds = F.when(F.abs(number) > MILLISECONDS_FROM, number / 1000).otherwise(number)
    inside = F.when(F.abs(seconds) < MAX_SECOND, F.timestamp_micros(F.round(seconds * 1_000_000).cast("long")))
    # only what starts with a year: Spark would put a bare time of day on the day of the run
    text = column.cast("string")
    written = F.when(text.rlike(r"^\s*\d{4}-"), F.expr(f"try_cast(cast(`{name}` as string) as timestamp)"))
    either = F.when(text.rlike(DAY_IN_DIGITS), F.try_to_timestamp(F.trim(text), F.lit("yyyyMMdd")))
    either = either.otherwise(F.coalesce(inside, written))
    return {"iso": written, "auto": either}.get(time_format, inside)
