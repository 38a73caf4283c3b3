"""Going on from an earlier partition: the rows of the source that it had not, and which of them are copies of what it has."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyspark import StorageLevel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from narrows.asof import KNOWN, known_period
from narrows.columns import EVENT_COLUMNS, EVENT_KEY, EVENT_TIME, INGESTED_AT, ITEM, KIND, USER
from narrows.engine.undo import unmatched
from narrows.kinds import POSITIVE, UNDO
from narrows.source.pieces import Piece
from narrows.stage import Asof, Table
from stages.events.arrivals import Arrivals
from stages.events.rows import DUPLICATE, NO_KIND, NOT_KNOWN_YET, judged, typed

if TYPE_CHECKING:
    from narrows.source.files import Source
    from stages.events import Events

QUARANTINE = "quarantine"
OF_SIDES = "items: ", "users: "
"""How reasons of the source's other tables begin: these are read as a whole."""
COPIED = [name for name in EVENT_COLUMNS if name not in EVENT_KEY]


class Contradicted(RuntimeError):
    """A file that arrived later has copies of events that say they arrived first: the earlier partition has the wrong ones."""


@dataclass(frozen=True)
class Resumed:
    """The judged rows that an earlier partition had not; of no earlier partition all rows."""

    rows: DataFrame
    columns: str
    """Those of the whole source; see `narrows.source.pieces.columns_of`."""
    earlier: Table | None = None
    later: DataFrame | None = None
    """Rows that are not known yet, where they are not among ``rows``."""

    def without_known(self, rows: DataFrame) -> DataFrame:
        """``rows`` with the reason "duplicate" where a good row is a copy of an event that the earlier partition has.

        Only the earlier events of the same span of time are looked at: the periods from the first of these rows on.

        Raises:
            Contradicted: a copy that says it arrived first, or at once with what it contradicts.
        """
        if not self.earlier:
            return rows
        grain = self.earlier.asof.grain
        good = F.col("reason").isNull()
        micros, period = F.unix_micros(EVENT_TIME), known_period(F.col(EVENT_TIME), grain)
        begin, end, first = rows.where(good).agg(F.min(micros), F.max(micros), F.min(period)).collect()[0]
        if begin is None:
            return rows
        since = f"{KNOWN}={Asof.of_period(first, grain)}"
        folders = [folder for folder in self.earlier.folders if folder >= since]  # nothing is known before it happens
        if not folders:
            return rows
        span = F.col(EVENT_TIME).between(F.timestamp_micros(F.lit(begin)), F.timestamp_micros(F.lit(end)))
        there = self.earlier.spark(rows.sparkSession, folders).where(span)
        there = there.select(
            *(F.col(name).alias(f"earlier_{name}") for name in EVENT_COLUMNS), F.lit(True).alias("is_copy")
        )
        same = good
        for name in EVENT_KEY:
            same = same & F.col(name).eqNullSafe(F.col(f"earlier_{name}"))
        joined = rows.join(there, same, "left").persist(StorageLevel.DISK_ONLY)
        arrived, had = F.col(INGESTED_AT), F.col(f"earlier_{INGESTED_AT}")
        differs = F.lit(False)
        for name in COPIED:
            differs = differs | ~F.col(name).eqNullSafe(F.col(f"earlier_{name}"))
        first_says = F.col("is_copy") & ((arrived < had) | ((arrived == had) & differs))
        if contradictions := joined.where(first_says).count():
            raise Contradicted(
                f"{contradictions} rows of new files are first copies of events that {self.earlier.asof} has"
            )
        reason = F.when(F.col("is_copy"), F.lit(DUPLICATE)).otherwise(F.col("reason"))
        return joined.withColumn("reason", reason).select(*rows.columns)

    def of_periods(self, session: Any, periods: Collection[str]) -> DataFrame | None:
        """The earlier partition's events of some periods; None = it has none."""
        wanted = {f"{KNOWN}={period}" for period in periods}
        folders = [folder for folder in self.earlier.folders if folder in wanted] if self.earlier else []
        return self.earlier.spark(session, folders) if self.earlier and folders else None

    def unmatched(self, good: DataFrame) -> int:
        """How many undo events have no positive to cancel, with the good rows.

        What an undo cancels is decided among all events of its user and item: of the earlier ones those are read.
        """
        if not self.earlier:
            return unmatched(good)
        pairs = good.where(F.col(KIND).isin(POSITIVE, UNDO)).select(USER, ITEM).distinct()
        columns = [*EVENT_COLUMNS, KIND, "weight"]
        there = self.earlier.spark(good.sparkSession).select(*columns).join(pairs, [USER, ITEM], "left_semi")
        before = int(self.earlier.notes.get("undo_without_positive", 0))
        return before - unmatched(there) + unmatched(there.select(*columns).unionByName(good.select(*columns)))

    def with_quarantine(self, broken: DataFrame) -> DataFrame:
        """The quarantine: the broken rows, and those of the events that the earlier partition has there."""
        rows = broken.select("reason", F.to_json("raw", {"ignoreNullFields": "false"}).alias("raw"))
        if not self.earlier or not self.earlier.has_side(QUARANTINE):
            return rows
        there = self.earlier.side(QUARANTINE).spark(broken.sparkSession)
        of_events = ~(F.col("reason").startswith(OF_SIDES[0]) | F.col("reason").startswith(OF_SIDES[1]))
        return there.where(of_events).unionByName(rows)


def resumed(session: Any, source: Source, room: Events, asof: Asof, earlier: Table, more: Arrivals) -> Resumed:
    """The rows of the source that an earlier partition had not, as known by a later as-of.

    Raises:
        OtherColumns: new files have columns that the source had not.
    """

    def rows_of(piece: Piece) -> DataFrame:
        return judged(typed(source.events(session, piece), source.settings), room.max_clock_skew_hours, asof.end)

    frames = []
    if more.new.files:
        frames.append(rows_of(more.new))
    if more.open.files or not frames:
        rows = rows_of(more.open)  # first of all: it starts Spark, without which there are no columns
        unknown = F.col("reason").isNull() | (F.col("reason") == NOT_KNOWN_YET) | F.col("reason").startswith(NO_KIND)
        known = F.greatest(EVENT_TIME, INGESTED_AT)
        frames.append(rows.where(unknown & (known >= F.lit(earlier.asof.end))))
    rows = frames[0] if len(frames) == 1 else frames[0].unionByName(frames[1])
    later = F.col("reason").eqNullSafe(NOT_KNOWN_YET)
    return Resumed(rows.where(~later).persist(StorageLevel.DISK_ONLY), more.new.columns, earlier, rows.where(later))
