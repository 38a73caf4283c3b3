"""How often users come back and how fast items age: what a horizon is guessed from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from narrows import durations

if TYPE_CHECKING:
    import polars as pl

VISIT_MINUTES = 30
"""Events of a user farther apart than this belong to two visits."""
LADDER = tuple(map(durations.parse, ("1h", "1d", "7d", "28d")))
"""The horizons that are guessed."""
HORIZONS = 6
"""A source shorter than this many horizons gets a shorter one: four are learned from, one is judged on."""
FAST = timedelta(hours=12)
"""Items whose typical event comes sooner than this after the item's first one are news of the hour."""
SHORT = timedelta(days=4)
"""The same for news of the day."""
BUSY = 500
"""Events an hour from which hourly lists have something to learn from."""


@dataclass(frozen=True)
class Rhythm:
    """When things happen in a source."""

    events: int
    users: int
    items: int
    begins: float
    """Seconds since 1970; a thousandth of the events may be earlier."""
    ends: float
    """Seconds since 1970; a thousandth of the events may be later."""
    gap: timedelta | None
    """The typical time between two visits of a user; None where nobody comes back."""
    returning: float
    """The share of users with two visits or more."""
    age: timedelta
    """Of the events in the second half: the median time since the item's first event."""

    @property
    def span(self) -> timedelta:
        return timedelta(seconds=self.ends - self.begins)

    @property
    def ages_fast(self) -> bool:
        """Whether items get their events while they are new. Where they last, the age is about as long as the source."""
        return self.age < self.span / 8 and self.age <= SHORT


def rhythm(events: pl.DataFrame, share: float = 1.0) -> Rhythm:
    """The rhythm of events.

    Args:
        events: columns ``user``, ``item`` and ``at`` (seconds since 1970), at least one row.
        share: the share of the users that were drawn into ``events``.
    """
    import polars as pl

    events = events.sort("user", "at")
    low, high = events["at"].quantile(0.001), events["at"].quantile(0.999)
    assert low is not None
    assert high is not None
    later = events.with_columns(gap=pl.col("at").diff().over("user"))
    between = later.filter(pl.col("gap") > VISIT_MINUTES * 60).group_by("user").agg(pl.col("gap").median())
    aged = events.with_columns(age=pl.col("at") - pl.col("at").min().over("item"))
    age = aged.filter(pl.col("at") >= (low + high) / 2)["age"].median()
    users = events["user"].n_unique()
    gap = between["gap"].median()
    return Rhythm(
        round(events.height / share), round(users / share), events["item"].n_unique(), low, high,
        timedelta(seconds=gap) if isinstance(gap, float) else None, between.height / users,
        timedelta(seconds=age if isinstance(age, float) else 0),
    )  # fmt: skip


def guessed_horizon(seen: Rhythm) -> tuple[timedelta, list[str]]:
    """A horizon, and why: one line a reason."""
    why = []
    if seen.gap:
        why.append(
            f"Users come back after {about(seen.gap)} (median; {seen.returning:.0%} of them have two visits or more)."
        )
    else:
        why.append("No user comes back after half an hour, so nothing tells how long a list should serve.")
    if seen.ages_fast:
        why.append(f"Items get old fast: half of the events come within {about(seen.age)} of the item's first one.")
        busy = seen.events / max(seen.span / timedelta(hours=1), 1) >= BUSY
        horizon = LADDER[0] if seen.age <= FAST and busy else LADDER[1]
        why.append(f"So a list should serve for {durations.in_words(horizon)}.")
        if busy and horizon > LADDER[0]:
            why.append('Where you can run it every hour, horizon = "1h" and grain = "hour" follow the news closer.')
    elif seen.gap:
        horizon = next((step for step in LADDER[1:] if seen.gap <= step * 1.25), LADDER[-1])
        why.append(f"Items last, so a list may serve until the typical user is back: {durations.in_words(horizon)}.")
    else:
        horizon = durations.parse("7d")
        why.append("7 days is the default.")
    enough = horizon
    while seen.span < HORIZONS * enough and enough > LADDER[0]:
        enough = LADDER[LADDER.index(enough) - 1]
    if enough != horizon:
        why.append(
            f"But {about(seen.span)} of events are fewer than {HORIZONS} such horizons: {durations.in_words(enough)}."
        )
    if seen.span < HORIZONS * enough:
        why.append(f"Even so the events span only {about(seen.span)}: a run needs four horizons of history.")
    return enough, why


def about(length: timedelta) -> str:
    """A length of time for people: ``3 days``, ``5 hours``, ``40 minutes``."""
    minutes = length / timedelta(minutes=1)
    for unit, size in (("day", 1440), ("hour", 60), ("minute", 1)):
        if minutes >= 1.5 * size or unit == "minute":
            count = round(minutes / size)
            return f"{count} {unit}{'s' * (count != 1)}"
    raise AssertionError
