"""The as-of of a partition, and the cut in time: what a partition may know of rows that carry when they became known.

This module decides the content of every table, so its code is part of every room's fingerprint.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from datetime import date as Date
from typing import TYPE_CHECKING, Any, overload

if TYPE_CHECKING:
    import pyarrow.dataset as ds
    from pyspark.sql import Column

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TEXT = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?:T(\d\d)(?::?(\d\d))?)?")
KNOWN = "known"
"""The column with the text of the first as-of that knows a row: the period in which it had both happened and arrived."""


@dataclass(frozen=True, order=True)
class Asof:
    """The instant up to which a partition may know anything: the end of one period of the grain.

    It is printed as the start of that period: ``2017-12-01`` knows everything up to the end of that day,
    ``2017-12-01T13`` everything before 14:00, ``2017-12-01T1330`` (a grain of 30 minutes) everything before 14:00.
    Texts of one grain sort as their instants do.
    """

    end: datetime
    """The first instant (UTC) that is not known."""
    grain: timedelta = DAY
    """The length of a period; it divides a day."""

    @classmethod
    def parse(cls, text: str, grain: timedelta = DAY) -> Asof:
        """The as-of of a text; a day stands for its last period, and an hour for the last one within it.

        Raises:
            ValueError: the text is no period of this grain; the message says how to write one.
        """
        match = TEXT.fullmatch(text)
        try:
            year, month, day, hour, minute = (int(part or 0) for part in match.groups()) if match else (0,) * 5
            start = datetime(year, month, day, hour, minute, tzinfo=UTC)
        except ValueError:
            match = None
        if not match:
            raise ValueError(f"{text!r} is not an as-of; give it as {cls._example(grain)}")
        length = DAY if match[4] is None else HOUR if match[5] is None else grain
        asof = cls(start + max(length, grain), grain)
        if (asof.end - EPOCH) % grain:
            raise ValueError(f"{text!r} is no period of the grain; give it as {cls._example(grain)}")
        return asof

    @staticmethod
    def _example(grain: timedelta) -> str:
        return "YYYY-MM-DD" if grain >= DAY else "YYYY-MM-DDTHH" if not grain % HOUR else "YYYY-MM-DDTHHMM"

    @staticmethod
    def pattern(grain: timedelta) -> str:
        """How Spark's ``date_format`` prints the start of a period."""
        return "yyyy-MM-dd" if grain >= DAY else "yyyy-MM-dd'T'HH" if not grain % HOUR else "yyyy-MM-dd'T'HHmm"

    def __str__(self) -> str:
        start = self.end - self.grain
        form = "%Y-%m-%d" if self.grain >= DAY else "%Y-%m-%dT%H" if not self.grain % HOUR else "%Y-%m-%dT%H%M"
        return start.strftime(form)

    def __add__(self, length: timedelta) -> Asof:
        return Asof(self.end + length, self.grain)

    @overload
    def __sub__(self, other: timedelta) -> Asof: ...
    @overload
    def __sub__(self, other: Asof) -> timedelta: ...
    def __sub__(self, other: Any) -> Any:
        return self.end - other.end if isinstance(other, Asof) else Asof(self.end - other, self.grain)

    @property
    def period(self) -> int:
        """The number of the period since 1970: integers that order rows as the as-ofs do."""
        return (self.end - EPOCH) // self.grain - 1

    @classmethod
    def of_period(cls, period: int, grain: timedelta) -> Asof:
        """The as-of of a period's number."""
        return cls(EPOCH + (period + 1) * grain, grain)

    @property
    def day(self) -> Date:
        """The day (UTC) of the last known instant."""
        return (self.end - timedelta(microseconds=1)).date()


def start_of(text: str) -> datetime:
    """The first instant (UTC) of the period that an as-of's text names, whatever its grain."""
    match = TEXT.fullmatch(text)
    if not match:
        raise ValueError(f"{text!r} is not an as-of")
    year, month, day, hour, minute = (int(part or 0) for part in match.groups())
    return datetime(year, month, day, hour, minute, tzinfo=UTC)


def known_rows(asof: Asof) -> ds.Expression:
    """The cut for Arrow datasets whose rows carry ``known``."""
    import pyarrow.dataset as ds

    return ds.field(KNOWN) <= str(asof)


def known_rows_spark(asof: Asof) -> Column:
    """The same for Spark frames."""
    from pyspark.sql import functions as F

    return F.col(KNOWN) <= str(asof)


def known_text(instant: Column, grain: timedelta) -> Column:
    """``known`` of rows that became known at an instant: the text of its period."""
    from pyspark.sql import functions as F

    seconds = int(grain.total_seconds())
    start = F.timestamp_seconds(known_period(instant, grain) * seconds)
    return F.date_format(start, Asof.pattern(grain))


def known_period(instant: Column, grain: timedelta) -> Column:
    """The number of the period in which rows became known; compare with ``Asof.period``."""
    from pyspark.sql import functions as F

    return F.floor(instant.cast("double") / int(grain.total_seconds())).cast("bigint")
