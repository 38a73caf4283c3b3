"""What a user did altogether: each function aggregates the user's known events.

Columns: ``age`` (days, fractional, to the end of the as-of), ``horizons`` (the same in horizons), ``period`` (that of the
visit), ``session_id`` (where the source has none, the visit), ``item_id``, ``price``.
"""

from collections.abc import Callable

import polars as pl

from features.ladder import STEPS, words


def _within(step: str) -> pl.Expr:
    return pl.col("horizons") <= STEPS[step]


def _events_within(step: str) -> Callable[[], pl.Expr]:
    def events_within() -> pl.Expr:
        return _within(step).sum().cast(pl.Int32)

    events_within.__name__, events_within.__doc__ = f"events_{step}", f"Events of the last {words(step)}."
    return events_within


def _distinct_within(column: str, prefix: str, what: str, step: str) -> Callable[[], pl.Expr]:
    def distinct() -> pl.Expr:
        return pl.col(column).filter(_within(step)).n_unique().cast(pl.Int32)

    distinct.__name__, distinct.__doc__ = f"{prefix}_{step}", f"Distinct {what} of the last {words(step)}."
    return distinct


def events() -> pl.Expr:
    """All events."""
    return pl.len().cast(pl.Int32)


def visits() -> pl.Expr:
    """Distinct visits."""
    return pl.col("period").n_unique().cast(pl.Int32)


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
    events,
    *(_events_within(step) for step in ("16th", "4th", "1x", "4x", "16x")),
    *(_distinct_within("session_id", "sessions", "sessions (baskets)", step) for step in ("1x", "4x", "16x")),
    visits,
    *(_distinct_within("period", "visits", "visits", step) for step in ("4x", "16x")),
    distinct_items, days_since_last_event, days_since_first_event, mean_price,
)  # fmt: skip
