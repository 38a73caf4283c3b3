"""Which as-ofs a source reaches, and which of them a run takes that is given none."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from narrows.asof import EPOCH, Asof
from narrows.durations import in_words
from narrows.settings import Settings
from narrows.source.errors import SourceError
from narrows.source.files import Source, open_source
from narrows.store.partitions import write_json

LOG = logging.getLogger(__name__)
FOLLOWING_HORIZONS = 4
"""Within how many horizons rows must follow for the source to go on, as in `stages.events.clean`."""
STRAY_SHARE = 0.01
"""Fewer rows than this share, after a gap of `FOLLOWING_HORIZONS`, are dated wrongly: the source ends before the gap."""
KEPT_PERIODS = 100_000
"""Counts of more periods are not kept in the state folder."""
FORMAT = 1
"""Of the kept counts; raised when they would be counted otherwise."""


@dataclass(frozen=True)
class Reach:
    """What a source covers."""

    begins: Asof
    """The first period with a row."""
    ends: Asof
    """The latest as-of that the source reaches."""
    horizon: timedelta
    rows: int
    """Rows known by ``ends``."""
    strays: int = 0
    """Rows dated later: after a long gap, or in the future."""

    @property
    def judged(self) -> Asof | None:
        """The latest as-of whose horizon the source covers wholly; None where nothing is known by then."""
        asof = self.ends - self.horizon
        return asof if asof >= self.begins else None

    def history(self, asof: Asof) -> int:
        """Whole horizons of history that an as-of has."""
        return (asof - self.begins + asof.grain) // self.horizon

    def choice(self, needed: int) -> tuple[Asof, str]:
        """The as-of that a run takes, and why; it needs ``needed`` horizons of history."""
        length = in_words(self.horizon)
        if self.judged and self.history(self.judged) >= needed:
            return self.judged, f"the latest that can be judged: the source covers the {length} after, to {self.ends}"
        if self.judged and self.history(self.ends) < needed:
            why = f"the latest that can be judged, but {needed} horizons of {length} are needed before it"
            return self.judged, f"{why}, and the source begins with {self.begins}"
        return self.ends, f"the latest that the source reaches: {length} earlier there is too little history"


def default_asof(settings: Settings) -> Asof:
    """The as-of of a run that is given none: the latest that can be judged, else the latest that the source reaches.

    Raises:
        SourceError: the source cannot be read, or has no row with a time.
    """
    asof, why = reach(settings).choice(history_needed(settings))
    LOG.info("as of %s: %s. Another: --asof", asof, why)
    return asof


def history_needed(settings: Settings) -> int:
    """Horizons of history before the first as-of that a run can be made of."""
    return 2 + getattr(settings.rooms.get("examples"), "scored_windows", 2)


def reach(settings: Settings, now: datetime | None = None) -> Reach:
    """What the source covers up to ``now`` (default: the clock's).

    Raises:
        SourceError: the source cannot be read, or has no row with a time.
    """
    grain, horizon = settings.source.grain_length, settings.source.horizon_length
    found = of_periods(periods(settings), grain, horizon, now or datetime.now(UTC))
    if not found:
        raise SourceError(
            "[source] no row has a user, an item and a readable time. Check event_columns: narrows doctor"
        )
    return found


def of_periods(counts: dict[int, int], grain: timedelta, horizon: timedelta, now: datetime) -> Reach | None:
    """What rows cover that became known in these periods; None where there is none.

    The period that ``now`` lies in has not ended: an as-of of it would miss what is still to come.
    """
    ended = (now - EPOCH) // grain - 1
    near = FOLLOWING_HORIZONS * (horizon // grain)
    past = sorted(period for period in counts if period <= ended) or sorted(counts)
    if not past:
        return None
    total, last = sum(counts[period] for period in past), len(past) - 1
    after = 0
    for at in range(len(past) - 1, 0, -1):
        after += counts[past[at]]
        if after > STRAY_SHARE * total:
            break
        if past[at] - past[at - 1] > near:
            last = at - 1
    following = min((period for period in counts if period > past[-1]), default=None)
    goes_on = last == len(past) - 1 and following is not None and following <= ended + near
    ends = ended if goes_on and past[-1] <= ended else past[last]
    covered = sum(count for period, count in counts.items() if period <= ends)
    strays = sum(counts.values()) - covered
    return Reach(Asof.of_period(past[0], grain), Asof.of_period(ends, grain), horizon, covered, strays)


def periods(settings: Settings) -> dict[int, int]:
    """How many rows became known in each period of the grain; kept in the state folder until the source changes.

    Raises:
        SourceError: the source cannot be read.
    """
    from narrows.source.instants import known_periods

    source, grain = open_source(settings), settings.source.grain_length
    room: Any = settings.rooms.get("events")
    skew = timedelta(hours=getattr(room, "max_clock_skew_hours", 24.0))
    kept, identity = settings.state / "sources" / "periods.json", [FORMAT, source.fingerprint(), str(skew)]
    if kept.exists() and (found := json.loads(kept.read_text()))["identity"] == identity:
        return {int(period): count for period, count in found["periods"]}
    counts = known_periods(source, grain, skew)
    if counts is None:
        counts = _by_spark(settings, source, grain, skew)
    if len(counts) <= KEPT_PERIODS:
        write_json(kept, {"identity": identity, "periods": list(counts.items())})
    return counts


def _by_spark(settings: Settings, source: Source, grain: timedelta, skew: timedelta) -> dict[int, int]:
    from pyspark.sql import functions as F

    from narrows.asof import known_period
    from narrows.engine.spark import spark_session
    from narrows.source.tabular import reading
    from stages.events.clean import known
    from stages.events.rows import judged, typed

    LOG.info("reading the times of the source with Spark, once ...")
    rows = typed(source.events(spark_session(settings.spark)), source.settings)
    rows = judged(rows, skew.total_seconds() / 3600, datetime(2200, 1, 1, tzinfo=UTC)).where(F.col("reason").isNull())
    with reading():
        found = rows.groupBy(known_period(known(), grain).alias("period")).count().collect()
    return {row[0]: row[1] for row in sorted(found)}
