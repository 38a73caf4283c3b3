"""What happened to an item.

BY_EVENT aggregates the item's known events (columns ``age``: days, fractional, to the end of the as-of; ``horizons``: the
same in horizons; ``user_id``; ``price``). BY_USER aggregates one row per item and user: ``horizons`` of the user's newest
event with the item, ``visits`` (distinct visits with it) and ``span`` (days from the first event to the last). OF_TABLE is read off
the row of the items table, at the end of the as-of in seconds since 1970.
"""

from collections.abc import Callable

import polars as pl

from features.ladder import STEPS, words

SECONDS_A_DAY = 86_400.0


def _users_within(step: str) -> Callable[[], pl.Expr]:
    def users() -> pl.Expr:
        return (pl.col("horizons") <= STEPS[step]).sum().cast(pl.Int32)

    users.__name__, users.__doc__ = f"users_{step}", f"Distinct users of the last {words(step)}."
    return users


def _events_within(step: str) -> Callable[[], pl.Expr]:
    def events() -> pl.Expr:
        return (pl.col("horizons") <= STEPS[step]).sum().cast(pl.Int32)

    events.__name__, events.__doc__ = f"events_{step}", f"Events of the last {words(step)}."
    return events


def days_since_available(end: float) -> pl.Expr:
    """Days since the item became available (``available_at`` of the items table); null where that is not known, or not yet."""
    at = pl.col("available_at")
    return pl.when(at < end).then((end - at) / SECONDS_A_DAY).cast(pl.Float32).alias("days_since_available")


def days_since_last_event() -> pl.Expr:
    """Days since anybody's last event with the item; null for an item without one."""
    return pl.col("age").min().cast(pl.Float32)


def days_since_first_event() -> pl.Expr:
    """Days since anybody's first event with the item; null for an item without one."""
    return pl.col("age").max().cast(pl.Float32)


def price() -> pl.Expr:
    """Mean price over the item's events that have one."""
    return pl.col("price").mean().cast(pl.Float32)


def recent_price() -> pl.Expr:
    """Mean price over the last horizon; null without an event that has one."""
    return pl.col("price").filter(pl.col("horizons") <= 1).mean().cast(pl.Float32)


def repeat_share() -> pl.Expr:
    """Of the item's users, the share with events on two visits or more."""
    return (pl.col("visits") >= 2).mean().cast(pl.Float32)


def mean_gap_days() -> pl.Expr:
    """Mean days between a user's consecutive visits with the item, over all users that came back to it; null if none did."""
    again = pl.col("visits") >= 2
    gaps = (pl.col("visits") - 1).filter(again).sum()
    return pl.when(gaps > 0).then(pl.col("span").filter(again).sum() / gaps).cast(pl.Float32)


def visits_per_user() -> pl.Expr:
    """Mean distinct visits with the item over its users."""
    return pl.col("visits").mean().cast(pl.Float32)


BY_EVENT = (
    *(_events_within(step) for step in ("1x", "4x", "16x", "64x")), days_since_first_event, days_since_last_event, price,
    recent_price,
)  # fmt: skip
BY_USER = (*(_users_within(step) for step in STEPS), repeat_share, mean_gap_days, visits_per_user)
OF_TABLE = (days_since_available,)
