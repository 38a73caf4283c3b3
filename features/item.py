"""What happened to an item.

BY_EVENT aggregates the item's known events (columns ``age``: days, fractional, to the end of the as-of; ``user_id``;
``price``). BY_USER aggregates one row per item and user: ``days`` (distinct days) and ``span`` (days from the first event
to the last).
"""

import polars as pl


def _users_within(days: int) -> pl.Expr:
    return pl.col("user_id").filter(pl.col("age") <= days).n_unique().cast(pl.Int32)


def _events_within(days: int) -> pl.Expr:
    return (pl.col("age") <= days).sum().cast(pl.Int32)


def users_7d() -> pl.Expr:
    """Distinct users of the last 7 days."""
    return _users_within(7)


def users_28d() -> pl.Expr:
    """Distinct users of the last 28 days."""
    return _users_within(28)


def users_90d() -> pl.Expr:
    """Distinct users of the last 90 days."""
    return _users_within(90)


def users_365d() -> pl.Expr:
    """Distinct users of the last 365 days."""
    return _users_within(365)


def events_7d() -> pl.Expr:
    """Events of the last 7 days."""
    return _events_within(7)


def events_28d() -> pl.Expr:
    """Events of the last 28 days."""
    return _events_within(28)


def events_90d() -> pl.Expr:
    """Events of the last 90 days."""
    return _events_within(90)


def events_365d() -> pl.Expr:
    """Events of the last 365 days."""
    return _events_within(365)


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
    """Mean price over the last 7 days; null without an event that has one."""
    return pl.col("price").filter(pl.col("age") <= 7).mean().cast(pl.Float32)


def repeat_share() -> pl.Expr:
    """Of the item's users, the share with events on two days or more."""
    return (pl.col("days") >= 2).mean().cast(pl.Float32)


def mean_gap_days() -> pl.Expr:
    """Mean days between a user's consecutive days with the item, over all users that came back to it; null if none did."""
    again = pl.col("days") >= 2
    gaps = (pl.col("days") - 1).filter(again).sum()
    return pl.when(gaps > 0).then(pl.col("span").filter(again).sum() / gaps).cast(pl.Float32)


def days_per_user() -> pl.Expr:
    """Mean distinct days with the item over its users."""
    return pl.col("days").mean().cast(pl.Float32)


BY_EVENT = (
    users_7d, users_28d, users_90d, users_365d, events_7d, events_28d, events_90d, events_365d, days_since_first_event,
    days_since_last_event, price, recent_price,
)  # fmt: skip
BY_USER = (repeat_share, mean_gap_days, days_per_user)
