"""What several tables of an item profile are grouped by: its users, and their contexts and segments."""

from __future__ import annotations

import polars as pl

from features.ladder import GROUP_STEPS, STEPS
from narrows.columns import ITEM, USER


def by_user(known: pl.DataFrame) -> pl.DataFrame:
    """One row per item and user: what ``features.item.BY_USER`` aggregates."""
    return known.group_by(ITEM, USER).agg(
        pl.col("period").n_unique().alias("visits"),
        (pl.col("age").max() - pl.col("age").min()).alias("span"),
        pl.col("horizons").min(),
    )


def popularity(known: pl.DataFrame, group: str) -> pl.DataFrame:
    """Parallel lists ``<group>_name`` and ``<group>_users_<step>``: users of the item in each group, by step of the ladder.

    Groups are ordered by name; those without a user within the longest of the steps are left out.
    """
    longest = max(STEPS[step] for step in GROUP_STEPS)
    recent = known.filter(pl.col(group).is_not_null() & (pl.col("horizons") <= longest))
    users = recent.group_by(ITEM, group, USER).agg(pl.col("horizons").min())
    within = [
        (pl.col("horizons") <= STEPS[step]).sum().cast(pl.Int32).alias(f"{group}_users_{step}") for step in GROUP_STEPS
    ]
    counts = users.group_by(ITEM, group).agg(within)
    return counts.sort(ITEM, group).rename({group: f"{group}_name"}).group_by(ITEM, maintain_order=True).all()
