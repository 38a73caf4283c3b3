"""Item profiles: Spark groups the events by item, Polars makes the rows of all as-ofs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import polars as pl
import pyarrow as pa

from features import item, viewed
from features.ladder import GROUP_STEPS, STEPS
from narrows.columns import AVAILABLE_AT, CONTEXT, ITEM, KIND, PRICE, USER
from narrows.engine.histories import (
    OF_KINDS,
    SIDE,
    Scale,
    complete,
    dated,
    each_asof,
    everything,
    known_by,
    of_kind,
    positives,
    with_side,
)
from narrows.engine.spark import Parts
from narrows.kinds import CONTEXT as CONTEXT_KIND
from narrows.stage import Asof, Table

Forecasts = Mapping[Asof, pa.Table | None]
"""Of each as-of item_id and expected_demand of the items that are forecast; None = nothing could be learned."""


def profile(
    session: Any, events: Table, items: Table, users: Table, asofs: list[Asof], scale: Scale, forecasts: Forecasts
) -> Parts:
    """One row per as-of and item."""
    rows = dated(session, events, max(asofs), scale)
    kinds = OF_KINDS if KIND in rows.columns else ()
    about = items.spark(session).selectExpr(ITEM, *SIDE, f"cast({AVAILABLE_AT} as double) as {AVAILABLE_AT}")
    rows = with_side(rows.select(ITEM, USER, "known", "second", PRICE, CONTEXT, *kinds), about)
    sides = {USER: users.arrow()}
    return each_asof(rows, ITEM, sides, asofs, scale, partial(profiles, scale=scale, forecasts=forecasts))


def profiles(
    rows: pl.DataFrame,
    asofs: list[Asof],
    scale: Scale,
    forecasts: Forecasts = {},  # noqa: B006 (only read)
) -> Iterator[pl.DataFrame]:
    """For each as-of one row per item it has heard of, in order; ``rows`` as ``each_asof`` says.

    The rows of the items table have ``available_at`` in seconds since 1970. Before that instant an as-of has not heard of the
    item, unless somebody had it.
    """
    about = rows.filter(pl.col("known").is_null()).select(ITEM, *SIDE, AVAILABLE_AT)
    everyone, looked, rows = rows, of_kind(rows, CONTEXT_KIND), positives(rows)
    rows = rows.drop(*SIDE, AVAILABLE_AT).sort("second", USER, PRICE)  # sums of floats depend on the order
    for asof in asofs:
        known = known_by(rows, asof, scale)
        end = asof.end.timestamp()
        heard_of = everything(everyone, asof).filter(pl.col(AVAILABLE_AT).is_null() | (pl.col(AVAILABLE_AT) < end))
        result = heard_of.select(ITEM).unique().join(about, ITEM, "left")
        result = result.with_columns(item.days_since_available(end)).drop(AVAILABLE_AT)
        pairs = known.group_by(ITEM, USER).agg(
            pl.col("period").n_unique().alias("visits"),
            (pl.col("age").max() - pl.col("age").min()).alias("span"),
            pl.col("horizons").min(),
        )
        tables = [
            known.group_by(ITEM).agg(feature().alias(feature.__name__) for feature in item.BY_EVENT),
            pairs.group_by(ITEM).agg(feature().alias(feature.__name__) for feature in item.BY_USER),
            popularity(known, CONTEXT),
            popularity(known, "segment"),
            known_by(looked, asof, scale).group_by(ITEM).agg(each().alias(each.__name__) for each in viewed.OF_ITEM),
        ]
        for table in tables:
            result = result.join(table, ITEM, "left")
        yield complete(with_forecast(result, forecasts.get(asof)).sort(ITEM))


def with_forecast(items: pl.DataFrame, forecast: pa.Table | None) -> pl.DataFrame:
    """The items with ``expected_demand``: 0 for those that are not forecast, null where nothing could be learned."""
    if forecast is None:
        return items.with_columns(expected_demand=pl.lit(None, pl.Float32))
    known = pl.DataFrame(pl.from_arrow(forecast)).with_columns(pl.col(ITEM).cast(items.schema[ITEM], strict=False))
    return items.join(known.drop_nulls(), ITEM, "left").with_columns(pl.col("expected_demand").fill_null(0))


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
