"""A small generated world, and what its log says, for tests."""

from __future__ import annotations

from functools import cache

import numpy as np
import polars as pl

from narrows.world.log import day_of_log
from narrows.world.policy import estimate
from narrows.world.settings import World
from narrows.world.truth import Truth

WORLD = World(
    users=40, items=120, days=40, sessions_per_day=4, list_length=8, subcategories=12, categories=4, brands=6,
    new_items=0.3, activity=0.3, new_users=0.3, repeat=0.3, views=0.2, seed=5,
)  # fmt: skip


@cache
def truth(world: World = WORLD) -> Truth:
    return Truth.of(world)


@cache
def log(world: World = WORLD) -> pl.DataFrame:
    """Every row of the world."""
    true = truth(world)
    known = estimate(world, true.catalogue, true.users)
    tables = [table for day in range(world.days) for table in day_of_log(world, true.catalogue, true.users, known, day)]
    frame = pl.concat([pl.DataFrame(table).with_columns(pl.col("event_type", "context").cast(str)) for table in tables])
    return frame.with_columns(day=(pl.col("session_id") // 64) % world.days)


def sessions(world: World = WORLD) -> pl.DataFrame:
    """One row a session with the list that it showed, the first position first."""
    shown = log(world).filter(pl.col("event_type") == "impression").sort("session_id", "position")
    return shown.group_by("session_id", maintain_order=True).agg(
        pl.col("user_id", "day", "event_time").first(), pl.col("item_id").alias("list")
    )


def z(count: float, expected: float, variance: float) -> float:
    """How many standard deviations a count lies from what is expected."""
    return float((count - expected) / np.sqrt(variance))
