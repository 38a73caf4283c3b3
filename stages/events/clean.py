"""Cleaning of raw events: types, the row contract, duplicates, the as-of."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pyspark import StorageLevel
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from narrows.asof import KNOWN, known_period, known_text
from narrows.columns import EVENT_COLUMNS, EVENT_KEY, EVENT_TIME, INGESTED_AT, KIND, WEIGHT
from narrows.kinds import KINDS, POSITIVE, UNDO
from narrows.settings import SourceSettings
from narrows.source.errors import OtherColumns, SourceError
from narrows.source.mapped import FILE
from narrows.source.pieces import Piece, columns_of
from narrows.source.tabular import reading
from narrows.stage import Asof, Output, Table
from stages.events.arrivals import LISTING, Listed, arrivals, listing
from stages.events.counts import Counts, as_known
from stages.events.periods import Known, Periods, by_period
from stages.events.resumed import QUARANTINE, Contradicted, Resumed, resumed
from stages.events.rows import DUPLICATE, KEPT_OUT, NO_KIND, NOT_KNOWN_YET, judged, typed

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


def clean(
    session: Any, source: Source, room: Events, asofs: Sequence[Asof], earlier: Table | None = None
) -> dict[Asof, Output]:
    """Split raw rows into events and quarantine, as known by one as-of or by several.

    What ``earlier`` has of the source is neither read nor counted again; the result is that of reading everything. Rows that
    had not happened or not arrived by the end of an as-of are no error: later partitions will have them.

    Args:
        session: of Spark.
        source: what is read.
        room: the settings.
        asofs: ascending. Of those after the first, which have ended, the ones of which, or after which, the source has rows.
        earlier: a partition up to the first as-of.

    Raises:
        SourceError: nothing is known by the first as-of, or too many rows are broken.
    """
    files = source.listing()
    if earlier:
        more = arrivals(files, earlier)
        try:
            if not isinstance(more, str):
                rest = resumed(session, source, room, asofs[-1], earlier, more)
                return _outputs(rest, files, source.settings, room, asofs)
        except (OtherColumns, Contradicted) as error:
            more = str(error)
        LOG.info("  %-16s %s  reads the whole source: %s", room.name, asofs[0], more)
    raw = source.events(session, Piece([file for file, _ in files.values()]))
    rows = judged(typed(raw, source.settings), room.max_clock_skew_hours, asofs[-1].end)
    return _outputs(Resumed(rows, columns_of(raw)), files, source.settings, room, asofs)


def _outputs(
    rest: Resumed, files: Listed, source: SourceSettings, room: Events, asofs: Sequence[Asof]
) -> dict[Asof, Output]:
    """The outputs of an earlier partition and the rows that it had not; of no earlier one, and all rows."""
    kinds = [kind for kind in KINDS if kind in source.kinds.kind_of.values()] or [POSITIVE]
    far = FOLLOWING_HORIZONS * source.horizon_length
    with reading():
        rows = rest.without_known(_deduplicated(rest.rows))
        span = asofs[0], asofs[-1] + far
        seen = [
            row for each in (rows, rest.later) if each is not None for row in _counted(each, span, kinds, rest.earlier)
        ]
    counts: dict[Asof, Counts] = {}
    last = asofs[0]
    for asof in asofs:
        if counts and counts[last].until_asof(last) < asof:
            break
        near = asof + far
        found = Counts.of(as_known(seen, asof, near), kinds, near, rest.earlier)
        try:
            found.require_usable(source, room, asof)
        except SourceError:
            if counts:
                break  # said where it is the first
            raise
        counts[asof], last = found, asof
    good = rows.where(F.col("reason").isNull())
    good = good if last == asofs[-1] else good.where(_known_by(last))
    events = good.select(*PUBLISHED, known_text(known(), last.grain).alias(KNOWN))
    again = sorted(str(Asof.of_period(period, last.grain)) for period in counts[last].periods_again)
    if again:
        LOG.info("  %-16s %s  files that arrived late add to %d earlier periods", room.name, last, len(again))
        if (there := rest.of_periods(rows.sparkSession, again)) is not None:
            events = events.unionByName(there.select(*PUBLISHED, KNOWN))
    periods = Periods(by_period(events, EVENT_KEY), rest.earlier, again)
    broken = rows.where(~F.col("reason").isin(NOT_KNOWN_YET, KEPT_OUT))
    quarantines: dict[Any, Any] = {}
    outputs, before = {}, None
    for asof, found in counts.items():
        notes = found.notes(source, asof)
        if notes["kinds"].get(UNDO):
            with reading():
                notes["undo_without_positive"] = rest.unmatched(good if asof == last else good.where(_known_by(asof)))
        published: dict[str, Any] = {LISTING: listing(files, rest.columns, found.open)}
        if reasons := notes["quarantine"]:
            late = ((F.col("reason") == DUPLICATE) | F.col("reason").startswith(NO_KIND)) & ~_known_by(asof)
            published[QUARANTINE] = quarantines.setdefault(str(reasons), rest.with_quarantine(broken.where(~late)))
        outputs[asof] = Output(periods if len(counts) == 1 else Known(periods, asof, before), notes, published)
        before = asof
    return outputs


def _known_by(asof: Asof) -> Column:
    return known_period(known(), asof.grain) <= asof.period


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
    doubled = doubled.withColumn("reason", F.when(F.row_number().over(earlier_first) > 1, DUPLICATE))
    if few:
        doubled = doubled.persist(StorageLevel.DISK_ONLY)  # else the source is read twice each time
    return single.unionByName(doubled)


def _counted(rows: DataFrame, span: tuple[Asof, Asof], kinds: list[str], earlier: Table | None) -> list[Any]:
    """Per reason, and per period between the first as-of of the job and the last one that is near: see `counts.as_known`."""
    first, near = span
    period = known_period(known(), near.grain)
    happened = known_period(F.col(EVENT_TIME), near.grain)
    again = F.when(period <= (earlier.asof.period if earlier else 0), period)
    at = F.greatest(F.least(period, F.lit(near.period + 1)), F.lit(first.period))
    counts = [
        F.count("*").alias("rows"), F.max(period).alias("last"), F.min(period).alias("first"),
        F.count_if(period > happened).alias("late"),
        *(F.count_if(F.col(KIND) == kind).alias(kind) for kind in kinds), F.count_if("anonymous").alias("anonymous"),
        F.collect_set(F.when(period > first.period, F.col(FILE))).alias("files"),
        F.collect_set(again).alias("periods"),
    ]  # fmt: skip
    at = F.when(period.isNotNull(), at)  # `greatest` and `least` would leave the null out
    return rows.groupBy("reason", at.alias("at")).agg(*counts).collect()
