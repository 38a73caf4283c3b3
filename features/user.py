"""What a user did altogether: each function aggregates the user's known events.

Columns: ``age`` (days, fractional, to the end of the as-of), ``event_day``, ``session_id`` (where the source has none, the
day), ``item_id``, ``price``.
"""

import polars as pl


def _within(days: int) -> pl.Expr:
    return pl.col("age") <= days


def events() -> pl.Expr:
    """All events."""
    return pl.len().cast(pl.Int32)


def events_7d() -> pl.Expr:
    """Events of the last 7 days."""
    return _within(7).sum().cast(pl.Int32)


def events_30d() -> pl.Expr:
    """Events of the last 30 days."""
    return _within(30).sum().cast(pl.Int32)


def events_90d() -> pl.Expr:
    """Events of the last 90 days."""
    return _within(90).sum().cast(pl.Int32)


def sessions_7d() -> pl.Expr:
    """Distinct sessions (baskets) of the last 7 days."""
    return pl.col("session_id").filter(_within(7)).n_unique().cast(pl.Int32)


def sessions_30d() -> pl.Expr:
    """Distinct sessions (baskets) of the last 30 days."""
    return pl.col("session_id").filter(_within(30)).n_unique().cast(pl.Int32)


def sessions_90d() -> pl.Expr:
    """Distinct sessions (baskets) of the last 90 days."""
    return pl.col("session_id").filter(_within(90)).n_unique().cast(pl.Int32)


def visits() -> pl.Expr:
    """Distinct days with an event."""
    return pl.col("event_day").n_unique().cast(pl.Int32)


def visits_30d() -> pl.Expr:
    """Distinct days with an event in the last 30 days."""
    return pl.col("event_day").filter(_within(30)).n_unique().cast(pl.Int32)


def visits_90d() -> pl.Expr:
    """Distinct days with an event in the last 90 days."""
    return pl.col("event_day").filter(_within(90)).n_unique().cast(pl.Int32)


def distinct_items() -> pl.Expr:
    """Distinct items of all events."""
    return pl.col("item_id").n_unique().cast(pl.Int32)


def days_since_last_event() -> pl.Expr:
    """Days since the user's last event; null for a user without one."""
    return pl.col("age").min().cast(pl.Float32)


def days_since_first_event() -> pl.Expr:
    """Days since the user's first event; null for a user without one."""
    return pl.col("age").max().cast(pl.Float32)


def mean_price() -> pl.Expr:
    """Mean price of the user's events that have one."""
    return pl.col("price").mean().cast(pl.Float32)


FEATURES = (
    events, events_7d, events_30d, events_90d, sessions_7d, sessions_30d, sessions_90d, visits, visits_30d, visits_90d,
    distinct_items, days_since_last_event, days_since_first_event, mean_price,
)  # fmt: skip
