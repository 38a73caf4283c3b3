"""What a user did with one entity (an item, a category, a subcategory, a brand): parallel lists, newest first.

Each function aggregates the days on which the user had an event with the entity: one row per user, entity and day, with
``age`` (days, fractional, from the day's last event to the end of the as-of), ``day_age`` (whole days, 0 = the as-of
day), ``age_before`` (the ``age`` of the preceding such day, null for the first), ``visit`` (the number of the user's day
with any event, 1 = the newest) and ``value`` (the day's sum). The columns are ``history_*`` for items, and
``category_*``, ``subcategory_*``, ``brand_*``.
"""

import polars as pl

HALF_LIFE = 90.0
SHORT_HALF_LIFE = 21.0


def count() -> pl.Expr:
    """Days on which the user had an event with it."""
    return pl.len().cast(pl.Int32)


def last_days() -> pl.Expr:
    """Days since the user's last event with it."""
    return pl.col("age").min().cast(pl.Float32)


def previous_days() -> pl.Expr:
    """Days since the user's last event with it on the day before that; null if there was one day only."""
    return pl.col("age_before").min().cast(pl.Float32)


def first_days() -> pl.Expr:
    """Days since the first day on which the user had an event with it."""
    return pl.col("age").max().cast(pl.Float32)


def decayed() -> pl.Expr:
    """Days with an event, each weighing one half after 90 days: sum of 0.5^(age in whole days / 90)."""
    return pl.lit(0.5).pow(pl.col("day_age") / HALF_LIFE).sum().cast(pl.Float32)


def decayed_short() -> pl.Expr:
    """Days with an event, each weighing one half after 21 days: sum of 0.5^(age in whole days / 21)."""
    return pl.lit(0.5).pow(pl.col("day_age") / SHORT_HALF_LIFE).sum().cast(pl.Float32)


def last_visits() -> pl.Expr:
    """The user's visits (days with any event) since the last one with it; 0 = it was on the newest."""
    return (pl.col("visit").min() - 1).cast(pl.Int32)


def first_visits() -> pl.Expr:
    """The user's visits since the first one with it, that one included."""
    return pl.col("visit").max().cast(pl.Int32)


def value() -> pl.Expr:
    """Mean over the days of the values (a rating, a quantity) summed within the day."""
    return pl.col("value").mean().cast(pl.Float32)


FEATURES = (count, last_days, previous_days, first_days, decayed, decayed_short, last_visits, first_visits, value)
