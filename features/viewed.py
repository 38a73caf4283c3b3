"""What users looked at: events of the kind ``context`` (views, carts), apart from what they took.

BY_ITEM aggregates a user's known context events with one item: the columns ``viewed_*``, parallel lists, newest first.
OF_ITEM aggregates an item's known context events. Both read ``age`` (days, fractional, to the
end of the as-of) and ``horizons`` (the same in horizons).
"""

import polars as pl


def count() -> pl.Expr:
    """Context events of the user with the item."""
    return pl.len().cast(pl.Int32)


def last_days() -> pl.Expr:
    """Days since the user's last context event with the item."""
    return pl.col("age").min().cast(pl.Float32)


def viewers() -> pl.Expr:
    """Distinct users with a context event in the last horizon."""
    return pl.col("user_id").filter(pl.col("horizons") <= 1).n_unique().cast(pl.Int32)


def viewers_long() -> pl.Expr:
    """Distinct users with a context event in the last four horizons."""
    return pl.col("user_id").filter(pl.col("horizons") <= 4).n_unique().cast(pl.Int32)


def days_since_last_view() -> pl.Expr:
    """Days since anybody's last context event with the item; null for an item without one."""
    return pl.col("age").min().cast(pl.Float32)


BY_ITEM = (count, last_days)
OF_ITEM = (viewers, viewers_long, days_since_last_view)
