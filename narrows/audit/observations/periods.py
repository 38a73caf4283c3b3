"""Rows by the period in which they became known: how many, and how long ago the last ones came.

The rows of such a table lie in one folder a period, so that counting them reads no row.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress
from datetime import date as Date
from datetime import timedelta
from statistics import median
from typing import Any, NamedTuple

from narrows.asof import DAY, Asof
from narrows.audit.observations.subject import LEAST, WEEK, Measured, Subject, surprise

STEPS = 12
"""Earlier periods of the same weekday, or hour, that say what is usual."""
LONGEST = 31
"""Periods, and days, that are judged at most."""
ROUGH = 0.12
"""Volume varies by so much, on the scale of its logarithm, where the earlier periods say less."""
ROUGH_DAYS = 0.3
"""The same among the same hours of a few days: weekdays differ, and so few do not show how much."""
REFERENCE = 4
"""Earlier periods of the same weekday or hour whose rows the newest are compared with."""


def volume(subject: Subject, period: str) -> Measured:
    """The robust z of the logarithm of each new period's number of rows, among periods of the same weekday or hour.

    New is what came after the partition before, at most a horizon (a day, where that is shorter). Of grains below a day an
    empty period is normal. Silent of a period with fewer than four such periods before it. What was as unusual a year before, as a
    holiday is, counts by as much less.
    """
    files = by_period(subject, period)
    found = [(each, unusual_rows(files, [each])) for each in new_periods(subject, files)]
    said = "{} has {:,} rows; {} such periods before it {:,.0f} in the middle"
    return Measured([(said.format(each, *seen[:3]), seen.z) for each, seen in found if seen])


def volume_together(subject: Subject, period: str) -> Measured:
    """The same of all new periods together, among as many at the same weekdays or hours before."""
    files = by_period(subject, period)
    new = new_periods(subject, files)
    if not (seen := unusual_rows(files, new)):
        return Measured()
    said = f"{new[0]} to {new[-1]} have {seen.rows:,} rows; {seen.number} such spans before {seen.middle:,.0f} in the middle"
    return Measured([(said, seen.z)])


class Seen(NamedTuple):
    """The rows of a span of periods beside those of such spans before."""

    rows: int
    number: int
    """Of spans before."""
    middle: float
    """Their median."""
    z: float


def unusual_rows(files: dict[Asof, list[Any]], new: list[Asof]) -> Seen | None:
    """How surprising the rows of a span are, less what it was a year before, on the same date or weekday, if that was of the same sign.

    None where fewer than four such spans lie before it, or it is empty and shorter than a day.
    """
    seen = _beside(files, new)
    if seen is None:
        return None
    left = [seen.z]
    for days in _year_before(new[-1].day):
        before = _beside(files, [each - days * DAY for each in new])
        if before and before.z * seen.z > 0:
            left.append(seen.z - before.z)
    return seen._replace(z=min(left, key=abs))


def _beside(files: dict[Asof, list[Any]], span: list[Asof]) -> Seen | None:
    found = [slots(files, each) for each in span]
    number = min(map(len, found), default=0)
    rows = sum(count(files, each) for each in span)
    if number <= LEAST or (not rows and span[0].grain < DAY):
        return None
    earlier = [sum(count(files, each[at]) for each in found) for at in range(number)]
    return Seen(rows, number, median(earlier), _surprise(rows, earlier, found[0]))


def _year_before(day: Date) -> list[int]:
    """How many days back the same weekday and the same date of the year before are."""
    with suppress(ValueError):  # a 29 February
        return [52 * 7, (day - day.replace(year=day.year - 1)).days]
    return [52 * 7]


def empty_days(subject: Subject, period: str) -> Measured:
    """How many of the days of new periods have no row, though such days usually have some."""
    files = by_period(subject, period)
    new = new_periods(subject, files)
    if not new:
        return Measured()
    days = [subject.around.asof - back * DAY for back in range(LONGEST) if subject.around.asof - back * DAY >= new[0]]
    empty = [str(day) for day in days if not has_rows(files, day) and usual(files, day, min(files))]
    return Measured([(f"no row on {', '.join(empty)}" if empty else "every day has its rows", float(len(empty)))])


def days_without_rows(subject: Subject, period: str) -> Measured:
    """For how many days up to the as-of, which usually have rows, there is none.

    Usual is what most of the same weekdays before had; where there are fewer than three of them, most of the days.
    """
    files = by_period(subject, period)
    if not files:
        return Measured()
    begins, missing, last = min(files), 0, ""
    for back in range(LONGEST):
        day = subject.around.asof - back * DAY
        if day < begins:
            break
        if has_rows(files, day):
            last = str(max(each for each in files if each <= day))
            break
        missing += usual(files, day, begins)
    since = f"since {last}" if last else "at all"
    return Measured([(f"no row {since}" if missing else f"the last rows are of {last}", float(missing))])


def _surprise(rows: int, earlier: list[int], before: list[Asof]) -> float:
    floor = ROUGH if before[0] - before[1] >= WEEK else ROUGH_DAYS
    rough = math.hypot(floor, 1 / math.sqrt(median(earlier) + 1))  # a small count varies as a Poisson count does
    return surprise(math.log1p(rows), [math.log1p(each) for each in earlier], rough)


def by_period(subject: Subject, period: str) -> dict[Asof, list[Any]]:
    """The files of each period up to the as-of, oldest first."""
    import pyarrow.dataset as ds

    if period not in subject.data.schema.names:
        raise LookupError(f"there is no column {period!r} that names the folders")
    if period not in subject.files:
        asof = subject.around.asof
        found: dict[str, list[Any]] = {}
        for file in subject.data.get_fragments():
            text = ds.get_partition_keys(file.partition_expression).get(period)
            if text is not None and str(text) <= str(asof):
                found.setdefault(str(text), []).append(file)
        subject.files[period] = {Asof.parse(text, asof.grain): found[text] for text in sorted(found)}
    return subject.files[period]


def new_periods(subject: Subject, files: dict[Asof, list[Any]]) -> list[Asof]:
    """The periods after the partition before, oldest first."""
    asof = subject.around.asof
    before = subject.around.previous.asof if subject.around.previous else None
    number = min(max(subject.around.horizon, DAY) // asof.grain, LONGEST)
    periods = [asof - back * asof.grain for back in reversed(range(number))]
    begins = min(files, default=asof)
    return [each for each in periods if each > begins and (before is None or each > before)]


def slots(files: dict[Asof, list[Any]], asof: Asof, most: int = STEPS) -> list[Asof]:
    """Earlier periods of the same weekday and hour, newest first; of the same hour while there are few of them."""
    begins = min(files)
    for step in (WEEK, DAY) if asof.grain < DAY else (WEEK,):
        found = list(_back(asof, step, begins, most))
        if len(found) > LEAST:
            break
    return found


def _back(asof: Asof, step: timedelta, begins: Asof, most: int) -> Iterator[Asof]:
    for number in range(1, most + 1):
        if asof - number * step < begins:
            return
        yield asof - number * step


def count(files: dict[Asof, list[Any]], asof: Asof) -> int:
    """Rows of a period, by the footers of its files."""
    return sum(int(file.count_rows()) for file in files.get(asof, ()))


def has_rows(files: dict[Asof, list[Any]], day: Asof) -> bool:
    """Whether the day that ends with a period has a row."""
    return any(day - number * day.grain in files for number in range(DAY // day.grain))


def usual(files: dict[Asof, list[Any]], day: Asof, begins: Asof) -> bool:
    """Whether such a day usually has rows."""
    for step in (WEEK, DAY):
        before = [has_rows(files, each) for each in _back(day, step, begins, STEPS)]
        if len(before) >= LEAST or step == DAY:
            return 2 * sum(before) > len(before)
    return False
