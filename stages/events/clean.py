"""Cleaning of raw events: types, the row contract, duplicates, the as-of."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from pyspark import StorageLevel
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from narrows.asof import KNOWN, known_period, known_text
from narrows.columns import EVENT_COLUMNS, EVENT_KEY, EVENT_TIME, INGESTED_AT, KIND, WEIGHT
from narrows.kinds import KINDS, POSITIVE, UNDO
from narrows.settings import SourceSettings
from narrows.source.errors import OtherColumns
from narrows.source.mapped import FILE
from narrows.source.pieces import Piece, columns_of
from narrows.source.tabular import reading
from narrows.stage import Asof, Output, Table
from stages.events.arrivals import LISTING, Listed, arrivals, listing
from stages.events.counts import Counts
from stages.events.periods import Periods, by_period
from stages.events.resumed import QUARANTINE, Contradicted, Resumed, resumed
from stages.events.rows import KEPT_OUT, NOT_KNOWN_YET, judged, typed

if TYPE_CHECKING:
    from narrows.source.files import Source
    from stages.events import Events

LOG = logging.getLogger(__name__)
PUBLISHED = (*EVENT_COLUMNS, KIND, WEIGHT)
"""The columns of the table."""
MAX_LISTED_KEYS = 10_000
"""Doubled keys up to which they are listed rather than all rows sorted."""
FOLLOWING_HORIZONS = 4
"""Horizons within which rows must follow the as-of to show that the source goes on: one row dated far ahead does not."""


def clean(session: Any, source: Source, room: Events, asof: Asof, earlier: Table | None = None) -> Output:
    """Split raw rows into events and quarantine.

    What ``earlier`` has of the source is neither read nor counted again; the result is that of reading everything. Rows that
    had not happened or not arrived by the end of ``asof`` are no error: later partitions will have them.

    Raises:
        SourceError: nothing is known by the as-of, or too many rows are broken.
    """
    files = source.listing()
    if earlier:
        more = arrivals(files, earlier)
        try:
            if not isinstance(more, str):
                rest = resumed(session, source, room, asof, earlier, more)
                return _output(rest, files, source.settings, room, asof)
        except (OtherColumns, Contradicted) as error:
            more = str(error)
        LOG.info("  %-16s %s  reads the whole source: %s", room.name, asof, more)
    raw = source.events(session, Piece([file for file, _ in files.values()]))
    rows = judged(typed(raw, source.settings), room.max_clock_skew_hours, asof.end)
    return _output(Resumed(rows, columns_of(raw)), files, source.settings, room, asof)


def _output(rest: Resumed, files: Listed, source: SourceSettings, room: Events, asof: Asof) -> Output:
    """The output of an earlier partition and the rows that it had not; of no earlier one, and all rows."""
    kinds = [kind for kind in KINDS if kind in source.kinds.kind_of.values()] or [POSITIVE]
    near = asof + FOLLOWING_HORIZONS * source.horizon_length
    with reading():
        rows = rest.without_known(_deduplicated(rest.rows))
        seen = [
            row for each in (rows, rest.later) if each is not None for row in _counted(each, near, kinds, rest.earlier)
        ]
    counts = Counts.of(seen, kinds, near, rest.earlier)
    counts.require_usable(source, room, asof)
    good = rows.where(F.col("reason").isNull())
    events = good.select(*PUBLISHED, known_text(known(), asof.grain).alias(KNOWN))
    again = sorted(str(Asof.of_period(period, asof.grain)) for period in counts.periods_again)
    if again:
        LOG.info("  %-16s %s  files that arrived late add to %d earlier periods", room.name, asof, len(again))
        if (there := rest.of_periods(rows.sparkSession, again)) is not None:
            events = events.unionByName(there.select(*PUBLISHED, KNOWN))
    notes = counts.notes(source, asof)
    if notes["kinds"].get(UNDO):
        with reading():
            notes["undo_without_positive"] = rest.unmatched(good)
    published: dict[str, Any] = {LISTING: listing(files, rest.columns, counts.open)}
    if notes["quarantine"]:
        published[QUARANTINE] = rest.with_quarantine(rows.where(~F.col("reason").isin(NOT_KNOWN_YET, KEPT_OUT)))
    return Output(Periods(by_period(events, EVENT_KEY), rest.earlier, again), notes, published)


def known() -> Column:
    """The instant by which an event had both happened and arrived."""
    return F.greatest(EVENT_TIME, INGESTED_AT)


def _deduplicated(rows: DataFrame) -> DataFrame:
    """``rows`` with the reason "duplicate" where a good row is a second copy of an event.

    The copy that arrived first is the event. One pass finds the keys that occur twice; only their rows are sorted, and a
    clean source has none.
    """
    good, key = F.col("reason").isNull(), F.xxhash64(*EVENT_KEY)
    twice = rows.where(good).groupBy(key.alias("key")).count().where("count > 1").select("key")
    keys = [row[0] for row in twice.limit(MAX_LISTED_KEYS).collect()]
    if not keys:
        return rows
    few = len(keys) < MAX_LISTED_KEYS
    candidate = good & (key.isin(keys) if few else F.lit(True))
    single, doubled = rows.where(~candidate), rows.where(candidate)
    earlier_first = Window.partitionBy(*EVENT_KEY).orderBy(INGESTED_AT, F.to_json("raw"))
    doubled = doubled.withColumn("reason", F.when(F.row_number().over(earlier_first) > 1, "duplicate"))
    if few:
        doubled = doubled.persist(StorageLevel.DISK_ONLY)  # else the source is read twice each time
    return single.unionByName(doubled)


def _counted(rows: DataFrame, near: Asof, kinds: list[str], earlier: Table | None) -> list[Any]:
    """Per reason: see `counts.Counts.of`."""
    period = known_period(known(), near.grain)
    happened = known_period(F.col(EVENT_TIME), near.grain)
    again = F.when(period <= (earlier.asof.period if earlier else 0), period)
    counts = [
        F.count("*").alias("rows"), F.max(period).alias("last"), F.min(period).alias("first"),
        F.max(F.when(period <= near.period, period)).alias("until"), F.count_if(period > happened).alias("late"),
        *(F.count_if(F.col(KIND) == kind).alias(kind) for kind in kinds), F.count_if("anonymous").alias("anonymous"),
        F.collect_set(F.when(F.col("reason") == NOT_KNOWN_YET, F.col(FILE))).alias("files"),
        F.collect_set(again).alias("periods"),
    ]  # fmt: skip
    return rows.groupBy("reason").agg(*counts).collect()
