"""What a user did with one entity (an item, a category, a subcategory, a brand): parallel lists, newest first.

Each function aggregates the visits on which the user had an event with the entity: one row per user, entity and visit,
with ``age`` (days, fractional, from the visit's last event to the end of the as-of), ``visits_ago`` (how long ago the
visit's period was, in horizons, 0 = the as-of's own period), ``age_before`` (the ``age`` of the preceding such visit, null
for the first), ``visit`` (the number of the user's visit with any event, 1 = the newest) and ``value`` (the visit's sum).
The columns are ``history_*`` for items, and ``category_*``, ``subcategory_*``, ``brand_*``.
"""

from collections.abc import Callable

import polars as pl

from features.ladder import STEPS, words

HALF_LIVES = ("1x", "4x", "16x")
"""Steps of the ladder that are half-lives."""


def _decayed(step: str) -> Callable[[], pl.Expr]:
    def decayed() -> pl.Expr:
        return pl.lit(0.5).pow(pl.col("visits_ago") / STEPS[step]).sum().cast(pl.Float32)

    decayed.__name__ = f"decayed_{step}"
    decayed.__doc__ = f"Visits with an event, each weighing one half every {words(step)}: sum of 0.5^(age in horizons / {STEPS[step]:g})."
    return decayed


def count() -> pl.Expr:
    """Visits on which the user had an event with it."""
    return pl.len().cast(pl.Int32)


def last_days() -> pl.Expr:
    """Days since the user's last event with it."""
    return pl.col("age").min().cast(pl.Float32)


def previous_days() -> pl.Expr:
    """Days since the user's last event with it on the visit before that; null if there was one visit only."""
    return pl.col("age_before").min().cast(pl.Float32)


def first_days() -> pl.Expr:
    """Days since the last event with it of the first visit that had one."""
    return pl.col("age").max().cast(pl.Float32)


def last_visits() -> pl.Expr:
    """The user's visits since the last one with it; 0 = it was on the newest."""
    return (pl.col("visit").min() - 1).cast(pl.Int32)


def first_visits() -> pl.Expr:
    """The user's visits since the first one with it, that one included."""
    return pl.col("visit").max().cast(pl.Int32)


def value() -> pl.Expr:
    """Mean over the visits of the values (a rating, a quantity) summed within the visit."""
    return pl.col("value").mean().cast(pl.Float32)


FEATURES = (
    count, last_days, previous_days, first_days, *(_decayed(step) for step in HALF_LIVES), last_visits, first_visits, value,
)  # fmt: skip
