"""Item profiles: Spark groups the events by item, Polars makes the rows of all as-ofs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import polars as pl

from features import item, viewed
from narrows.columns import CONTEXT, ITEM, KIND, PRICE, USER
from narrows.engine.histories import (
    OF_KINDS,
    SIDE,
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

if TYPE_CHECKING:
    from stages.item_profiles import ItemProfiles

WEEK = timedelta(days=7)


def profile(
    session: Any, events: Table, items: Table, users: Table, room: ItemProfiles, asofs: list[Asof], horizon: timedelta
) -> Parts:
    """One row per as-of and item."""
    rows = dated(session, events, max(asofs))
    kinds = OF_KINDS if KIND in rows.columns else ()
    rows = with_side(rows.select(ITEM, USER, "known", "second", PRICE, CONTEXT, *kinds), items.spark(session))
    sides = {USER: users.arrow()}
    return each_asof(rows, ITEM, sides, asofs, partial(profiles, room=room, horizon=horizon))


def profiles(
    rows: pl.DataFrame, asofs: list[Asof], room: ItemProfiles, horizon: timedelta = WEEK
) -> Iterator[pl.DataFrame]:
    """For each as-of one row per item it has heard of, in order; ``rows`` as ``each_asof`` says."""
    about = rows.filter(pl.col("known").is_null()).select(ITEM, *SIDE)
    everyone, looked, rows = rows, of_kind(rows, CONTEXT_KIND), positives(rows)
    days = horizon / timedelta(days=1)
    rows = rows.drop(SIDE).sort("second", USER, PRICE)  # sums of floats depend on the order
    for asof in asofs:
        known = known_by(rows, asof)
        result = everything(everyone, asof).select(ITEM).unique().join(about, ITEM, "left")
        pairs = known.group_by(ITEM, USER).agg(
            pl.col("event_day").n_unique().alias("days"), (pl.col("age").max() - pl.col("age").min()).alias("span")
        )
        tables = [
            known.group_by(ITEM).agg(feature().alias(feature.__name__) for feature in item.BY_EVENT),
            pairs.group_by(ITEM).agg(feature().alias(feature.__name__) for feature in item.BY_USER),
            popularity(known, CONTEXT, room.group_days),
            popularity(known, "segment", room.group_days),
            known_by(looked, asof).group_by(ITEM).agg(each(days).alias(each.__name__) for each in viewed.OF_ITEM),
        ]
        for table in tables:
            result = result.join(table, ITEM, "left")
        yield complete(result.sort(ITEM))


def popularity(known: pl.DataFrame, group: str, days: int) -> pl.DataFrame:
    """Parallel lists ``<group>_name``, ``<group>_users_28d`` and ``<group>_users_90d``: users of the item in each group.

    Groups are ordered by name; those without a user in ``days`` are left out.
    """
    recent = known.filter(pl.col(group).is_not_null() & (pl.col("age") <= days))
    users = recent.group_by(ITEM, group, USER).agg(pl.col("age").min())
    counts = users.group_by(ITEM, group).agg(
        (pl.col("age") <= 28).sum().cast(pl.Int32).alias(f"{group}_users_28d"),
        pl.len().cast(pl.Int32).alias(f"{group}_users_90d"),
    )
    return counts.sort(ITEM, group).rename({group: f"{group}_name"}).group_by(ITEM, maintain_order=True).all()
