"""Item profiles: Spark groups the events by item, where they are many; Polars makes the rows of all as-ofs."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import polars as pl

from features import item, viewed
from narrows.columns import AVAILABLE_AT, CONTEXT, ITEM, KIND, PRICE, USER
from narrows.engine import here
from narrows.engine.histories import (
    OF_KINDS,
    SIDE,
    Scale,
    complete,
    dated,
    each_asof,
    known_by,
    of_kind,
    positives,
    with_side,
)
from narrows.engine.hot import Parted
from narrows.engine.sides import Side
from narrows.engine.spark import Parts
from narrows.kinds import CONTEXT as CONTEXT_KIND
from narrows.stage import Asof, Table
from stages.item_profiles.groups import HEARD, Forecasts, by_user, heard_of, popularity, with_available, with_forecast
from stages.item_profiles.parts import merged, summaries


def profile(
    session: Any, events: Table, items: Table, users: Table, asofs: list[Asof], scale: Scale, forecasts: Forecasts
) -> Parts | here.Profiles:
    """One row per as-of and item."""
    side = Side(USER, users, [USER, "segment"])
    kernel = partial(profiles, scale=scale, forecasts=forecasts)
    if here.fits(events):
        few = here.dated(events, asofs, scale)
        kinds = OF_KINDS if KIND in few.columns else ()
        few = few.select(ITEM, USER, "known", "second", PRICE, CONTEXT, *kinds)
        few = here.with_side(few, items.arrow([ITEM, *SIDE, AVAILABLE_AT]))
        return here.Profiles(few, ITEM, side, asofs, scale, kernel)
    rows = dated(session, events, asofs, scale)
    kinds = OF_KINDS if KIND in rows.columns else ()
    about = items.spark(session).selectExpr(ITEM, *SIDE, f"cast({AVAILABLE_AT} as double) as {AVAILABLE_AT}")
    rows = with_side(rows.select(ITEM, USER, "known", "second", PRICE, CONTEXT, *kinds), about)
    parted = Parted(USER, partial(summaries, scale=scale, forecasts=forecasts), merged)
    return each_asof(rows, ITEM, side, asofs, scale, kernel, parted)


def profiles(
    rows: pl.DataFrame,
    asofs: list[Asof],
    scale: Scale,
    forecasts: Forecasts = {},  # noqa: B006 (only read)
) -> Iterator[pl.DataFrame]:
    """For each as-of one row per item it has heard of, in order; ``rows`` as ``each_asof`` says.

    The rows of the items table have ``available_at`` in seconds since 1970.
    """
    about = rows.filter(pl.col("known").is_null()).select(ITEM, *SIDE, AVAILABLE_AT)
    everyone, looked, rows = rows, of_kind(rows, CONTEXT_KIND), positives(rows)
    rows = rows.drop(*SIDE, AVAILABLE_AT).sort("second", USER, PRICE)  # sums of floats depend on the order
    for asof in asofs:
        known = known_by(rows, asof, scale)
        heard = heard_of(everyone, asof, scale).filter(HEARD).drop(HEARD)
        result = with_available(heard.join(about, ITEM, "left"), asof)
        tables = [
            known.group_by(ITEM).agg(feature().alias(feature.__name__) for feature in item.BY_EVENT),
            by_user(known).group_by(ITEM).agg(feature().alias(feature.__name__) for feature in item.BY_USER),
            popularity(known, CONTEXT),
            popularity(known, "segment"),
            known_by(looked, asof, scale).group_by(ITEM).agg(each().alias(each.__name__) for each in viewed.OF_ITEM),
        ]
        for table in tables:
            result = result.join(table, ITEM, "left")
        yield complete(with_forecast(result, forecasts.get(asof)).sort(ITEM))
