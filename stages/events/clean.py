"""Cleaning of raw events: types, the row contract, duplicates, the as-of."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyspark import StorageLevel
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from narrows.asof import KNOWN, known_period, known_text
from narrows.columns import EVENT_COLUMNS, EVENT_KEY, EVENT_TIME, INGESTED_AT, KIND, WEIGHT
from narrows.engine.spark import Parts, part_writer
from narrows.engine.undo import unmatched
from narrows.kinds import KINDS, POSITIVE, UNDO
from narrows.settings import SourceSettings
from narrows.source.errors import SourceError
from narrows.source.tabular import reading
from narrows.stage import Asof, Output, Table
from stages.events.rows import KEPT_OUT, NOT_KNOWN_YET, judged, require_kinds, typed

if TYPE_CHECKING:
    import pyarrow as pa

    from stages.events import Events

PUBLISHED = (*EVENT_COLUMNS, KIND, WEIGHT)
"""The columns of the table."""
MAX_LISTED_KEYS = 10_000
"""Doubled keys up to which they are listed rather than all rows sorted."""
FOLLOWING_HORIZONS = 4
"""Horizons within which rows must follow the as-of to show that the source goes on: one row dated far ahead does not."""


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
    kinds = [kind for kind in KINDS if kind in source.kinds.kind_of.values()] or [POSITIVE]
    near = asof + FOLLOWING_HORIZONS * source.horizon_length
    with reading():
        rows, seen = _deduplicated(rows, near, kinds)
    counts, last = {row[0]: row[1] for row in seen}, {row[0]: row[2] for row in seen}
    after, good, duplicates = counts.pop(NOT_KNOWN_YET, 0), counts.pop(None, 0), counts.get("duplicate", 0)
    kept_out = counts.pop(KEPT_OUT, 0)
    require_kinds(counts)
    bad = sum(counts.values()) - duplicates
    if good == 0:
        raise SourceError(
            f"[source] no usable event up to {asof} ({bad} broken rows, {after} later ones{_left_out(kept_out)}). Choose "
            "another as-of, or check event_columns and time_format."
        )
    found = next(row for row in seen if row[0] is None)
    by_kind = {kind: found[kind] for kind in kinds}
    if not by_kind[POSITIVE]:
        raise SourceError(
            f"[source.kinds] no positive up to {asof}: of the event types {', '.join(source.kinds.positive)} there is no row. "
            "Name in positive what the file has, or choose a later as-of."
        )
    read = good + bad + duplicates + after  # of the whole source, as `bad` is: the share is the same at every as-of
    if bad > room.max_bad_share * read:
        raise SourceError(
            f"[source] {bad} of {read} rows are broken ({', '.join(f'{k}: {v}' for k, v in sorted(counts.items()))}), "
            f"more than max_bad_share = {room.max_bad_share}. Nothing was published. Mend the source, or raise [events] max_bad_share."
        )
    begins = Asof.of_period(found["first"], asof.grain)
    ends = Asof.of_period(last[None], asof.grain)
    following, until = next(((row["first"], row["until"]) for row in seen if row[0] == NOT_KNOWN_YET), (None, None))
    goes_on = following is not None and following <= near.period
    events = rows.where(F.col("reason").isNull()).select(*PUBLISHED, known_text(known(), asof.grain).alias(KNOWN))
    if earlier:
        events = events.where(F.col(KNOWN) > str(earlier.asof))
    in_order = events.repartition(KNOWN).sortWithinPartitions(KNOWN, *EVENT_KEY)
    quarantine = rows.where(~F.col("reason").isin(NOT_KNOWN_YET, KEPT_OUT)).select(
        "reason", F.to_json("raw", {"ignoreNullFields": "false"}).alias("raw")
    )
    notes = {
        "quarantine": counts, "events": good, "begins": str(begins), "ends": str(ends),
        "rows_after_asof": after, "goes_on": goes_on,
        "until": str(Asof.of_period(until, asof.grain)) if until is not None else str(ends), "received": good + sum(counts.values()) + after + kept_out,
        "kinds": by_kind,
    }  # fmt: skip
    if source.where:
        notes["kept_out"] = kept_out
    if source.anonymous:
        notes["anonymous"] = found["anonymous"]
    if by_kind.get(UNDO):
        with reading():
            notes["undo_without_positive"] = unmatched(rows.where(F.col("reason").isNull()))
    return Output(
        Periods(Parts(in_order, _write_periods), earlier), notes, {"quarantine": quarantine} if counts else {}
    )


def known() -> Column:
    """The instant by which an event had both happened and arrived."""
    return F.greatest(EVENT_TIME, INGESTED_AT)


def _left_out(count: int) -> str:
    return f", {count} kept out by where" if count else ""


def _deduplicated(rows: DataFrame, near: Asof, kinds: list[str]) -> tuple[DataFrame, list[Any]]:
    """``rows`` with the reason "duplicate" where a good row is a second copy of an event, and per reason the count, the
    last, the ``first`` and the last period up to ``near`` (``until``) by which a row was known, the rows of each kind and
    those of ``anonymous`` users.

    The copy that arrived first is the event. One pass finds the keys that occur twice; only their rows are sorted, and a
    clean source has none.
    """
    good, key, period = F.col("reason").isNull(), F.xxhash64(*EVENT_KEY), known_period(known(), near.grain)
    of = [F.count_if(F.col(KIND) == kind).alias(kind) for kind in kinds] + [F.count_if("anonymous").alias("anonymous")]
    until = F.max(F.when(period <= near.period, period)).alias("until")
    counts = [F.count("*"), F.max(period), F.min(period).alias("first"), until, *of]
    twice = rows.where(good).groupBy(key.alias("key")).count().where("count > 1").select("key")
    keys = [row[0] for row in twice.limit(MAX_LISTED_KEYS).collect()]
    if keys:
        few = len(keys) < MAX_LISTED_KEYS
        candidate = good & (key.isin(keys) if few else F.lit(True))
        single, doubled = rows.where(~candidate), rows.where(candidate)
        earlier_first = Window.partitionBy(*EVENT_KEY).orderBy(INGESTED_AT, F.to_json("raw"))
        doubled = doubled.withColumn("reason", F.when(F.row_number().over(earlier_first) > 1, "duplicate"))
        if few:
            doubled = doubled.persist(StorageLevel.DISK_ONLY)  # else the source is read twice each time
        rows = single.unionByName(doubled)
    return rows, rows.groupBy("reason").agg(*counts).collect()


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
