"""Profiles of items with very many events: each part of an item's users summed up, and the profile made of the sums."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from features import item_parts, viewed
from features.ladder import GROUP_STEPS
from narrows.columns import AVAILABLE_AT, CONTEXT, ITEM, PRICE, USER
from narrows.engine.histories import SIDE, Scale, complete, known_by, of_kind, positives
from narrows.kinds import CONTEXT as CONTEXT_KIND
from narrows.stage import Asof
from stages.item_profiles.groups import HEARD, Forecasts, by_user, heard_of, popularity, with_available, with_forecast

GROUPS = (CONTEXT, "segment")


def summaries(
    rows: pl.DataFrame,
    asofs: list[Asof],
    scale: Scale,
    forecasts: Forecasts = {},  # noqa: B006 (only read)
) -> Iterator[pl.DataFrame]:
    """For each as-of what it knows of a part of an item's users, one row per item; ``rows`` as ``each_asof`` says."""
    about = rows.filter(pl.col("known").is_null()).select(ITEM, *SIDE, AVAILABLE_AT)
    everyone, looked, rows = rows, of_kind(rows, CONTEXT_KIND), positives(rows)
    rows = rows.drop(*SIDE, AVAILABLE_AT).sort("second", USER, PRICE)
    for asof in asofs:
        known = known_by(rows, asof, scale)
        result = with_available(heard_of(everyone, asof, scale).join(about, ITEM, "left"), asof)
        tables = [
            known.group_by(ITEM).agg(item_parts.of_events()),
            by_user(known).group_by(ITEM).agg(item_parts.of_users()),
            *(popularity(known, group) for group in GROUPS),
            known_by(looked, asof, scale).group_by(ITEM).agg(each().alias(each.__name__) for each in viewed.OF_ITEM),
        ]
        for table in tables:
            result = result.join(table, ITEM, "left")
        yield complete(with_forecast(result, forecasts.get(asof)))


def merged(parts: pl.DataFrame) -> pl.DataFrame:
    """One row per item of the summaries of its parts as of one instant, in the order of the parts."""
    parts = parts.filter(pl.col(HEARD).any().over(ITEM))
    # one part has the catalogue's row
    about = [pl.col(name).drop_nulls().first() for name in (*SIDE, "days_since_available")]
    result = parts.group_by(ITEM, maintain_order=True).agg(*about, *item_parts.over_parts())
    result = result.with_columns(item_parts.ratios())
    for group in GROUPS:
        counts = [f"{group}_users_{step}" for step in GROUP_STEPS]
        name = f"{group}_name"
        rows = parts.select(ITEM, name, *counts).explode(name, *counts).drop_nulls(name)
        users = rows.group_by(ITEM, name).agg(pl.col(counts).sum()).sort(ITEM, name)
        result = result.join(users.group_by(ITEM, maintain_order=True).all(), ITEM, "left")
    forecast = parts.group_by(ITEM).agg(pl.col("expected_demand").first())  # every part has the item's
    return complete(result.join(forecast, ITEM, "left"))
