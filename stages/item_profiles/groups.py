"""What the rows of item profiles are made of: which items have one, their users, contexts and segments, and the forecast."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl
import pyarrow as pa

from features.item import days_since_available
from features.ladder import GROUP_STEPS, STEPS
from narrows.columns import AVAILABLE_AT, ITEM, USER
from narrows.engine.histories import Scale, everything
from narrows.stage import Asof

Forecasts = Mapping[Asof, pa.Table | None]
"""Of each as-of item_id and expected_demand of the items that are forecast; None = nothing could be learned."""

HEARD = "heard"


def heard_of(rows: pl.DataFrame, asof: Asof, scale: Scale) -> pl.DataFrame:
    """Every item of the known events and of the items table, and whether the as-of has ``heard`` of it.

    It has not, where the item is available later and nobody had it.
    """
    known = pl.col(AVAILABLE_AT).is_null() | (pl.col(AVAILABLE_AT) < asof.end.timestamp())  # null of every event
    return everything(rows, asof, scale).group_by(ITEM).agg(known.any().alias(HEARD))


def with_available(items: pl.DataFrame, asof: Asof) -> pl.DataFrame:
    """The items with ``days_since_available`` in place of ``available_at``."""
    return items.with_columns(days_since_available(asof.end.timestamp())).drop(AVAILABLE_AT)


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


def with_forecast(items: pl.DataFrame, forecast: pa.Table | None) -> pl.DataFrame:
    """The items with ``expected_demand``: 0 for those that are not forecast, null where nothing could be learned."""
    if forecast is None:
        return items.with_columns(expected_demand=pl.lit(None, pl.Float32))
    known = pl.DataFrame(pl.from_arrow(forecast)).with_columns(pl.col(ITEM).cast(items.schema[ITEM], strict=False))
    return items.join(known.drop_nulls(), ITEM, "left").with_columns(pl.col("expected_demand").fill_null(0))
