"""User profiles: Spark groups the events by user, where they are many; Polars makes the rows of all as-ofs."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import polars as pl

from features import history, user
from features.ladder import STEPS
from narrows.columns import CONTEXT, ITEM, PRICE, USER, VALUE
from narrows.engine import here
from narrows.engine.histories import (
    ATTRIBUTES,
    UNDONE,
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
from narrows.engine.sides import Side
from narrows.engine.spark import Parts
from narrows.kinds import CONTEXT as CONTEXT_KIND
from narrows.stage import Asof, Table
from stages.user_profiles.viewed import viewed_items

if TYPE_CHECKING:
    from stages.user_profiles import UserProfiles

PERIOD = "period"


def profile(
    session: Any, events: Table, items: Table, users: Table, room: UserProfiles, asofs: list[Asof], scale: Scale
) -> Parts | here.Profiles:
    """One row per as-of and user."""
    side, kernel = Side(ITEM, items, [ITEM, *ATTRIBUTES]), partial(profiles, room=room, scale=scale)
    if here.fits(events):
        few = here.with_side(here.dated(events, asofs, scale), users.arrow())
        return here.Profiles(few, USER, side, asofs, scale, kernel)
    rows = with_side(dated(session, events, asofs, scale), users.spark(session))
    return each_asof(rows, USER, side, asofs, scale, kernel)


def profiles(rows: pl.DataFrame, asofs: list[Asof], room: UserProfiles, scale: Scale) -> Iterator[pl.DataFrame]:
    """For each as-of one row per user it has heard of, in order; ``rows`` as ``each_asof`` says."""
    everyone, looked, rows = rows, of_kind(rows, CONTEXT_KIND), positives(rows)
    lengths = {ITEM: room.history_length} | dict.fromkeys(ATTRIBUTES, room.kinds_length)
    # newest first, of one instant by item: a group's first rows are its newest; the rest, as sums depend on the order
    rows = rows.sort("second", ITEM, VALUE, PRICE, descending=[True, False, False, False])
    with_thing = {attribute: by_visit(rows, USER, attribute) for attribute in lengths}
    visited = by_visit(rows, USER)
    segments = rows.filter(pl.col("known").is_null()).select(USER, "segment")
    for asof in asofs:
        known = known_by(rows, asof, scale)
        visit = visits(known_by(visited, asof, scale))
        result = everything(everyone, asof, scale).select(USER).unique()
        tables = [
            segments,
            known.group_by(USER).agg(feature().alias(feature.__name__) for feature in user.FEATURES),
            favourite(known),
            sequences(known, room.sequence_length),
            viewed_items(known_by(looked, asof, scale), room.viewed_length),
            visit.group_by(USER, maintain_order=True).agg(
                visit_days=pl.col("age").cast(pl.Float32).head(room.visits_length)
            ),
        ]
        for attribute, length in lengths.items():
            known_things = known_by(with_thing[attribute], asof, scale)
            numbered = known_things.join(visit.select(USER, PERIOD, "visit"), [USER, PERIOD], "left")
            tables.append(histories(numbered, attribute, length))
        for table in tables:
            result = result.join(table, USER, "left")
        yield complete(result.sort(USER))


def by_visit(rows: pl.DataFrame, *keys: str) -> pl.DataFrame:
    """Per ``keys``, period and time of becoming known (and being cancelled): ``second`` of the last event and the sum of the
    values, newest first.
    """
    known = ["known", *[UNDONE] * (UNDONE in rows.columns)]
    groups = [*keys, PERIOD, *known]
    rows = rows.filter(pl.all_horizontal(pl.col("known", *keys).is_not_null())).select(*groups, "second", VALUE)
    # sorted, a group is a run of rows: a third of the work of grouping by several columns
    newest_first = [False] * len(keys) + [True] * (1 + len(known))
    rows = rows.sort(*groups, descending=newest_first, maintain_order=True)
    begins = pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift(1)) for name in groups)
    rows = rows.with_columns(run=begins.cum_sum().set_sorted())
    total = pl.when(pl.col(VALUE).count() > 0).then(pl.col(VALUE).sum()).alias(VALUE)
    firsts = pl.col(*groups).first()
    return rows.group_by("run", maintain_order=True).agg(firsts, pl.col("second").max(), total).drop("run")


def visits(days: pl.DataFrame) -> pl.DataFrame:
    """One row per visit, a user's newest first: ``age`` of its last event, ``visit`` = 1, 2, …"""
    days = once(days, USER)
    return days.with_columns(visit=pl.int_range(1, pl.len() + 1).over(USER))


def once(days: pl.DataFrame, *keys: str) -> pl.DataFrame:
    """One row per ``keys`` and period: what became known of a visit at several times is one visit still."""
    first = [pl.col(name).ne_missing(pl.col(name).shift(1)) for name in (*keys, PERIOD)]
    if days.select(pl.any_horizontal(first).all()).item():
        return days
    total = pl.when(pl.col(VALUE).count() > 0).then(pl.col(VALUE).sum()).alias(VALUE)
    others = [
        pl.col(name).first() for name in days.columns if name not in (*keys, PERIOD, "age", VALUE, "known", "second")
    ]
    return days.group_by(*keys, PERIOD, maintain_order=True).agg(pl.col("age").min(), total, *others)


def histories(days: pl.DataFrame, attribute: str, length: int) -> pl.DataFrame:
    """Parallel lists per user, the entry with the newest event first (ties by its name)."""
    prefix, name = ("history", "item") if attribute == ITEM else (attribute, "name")
    days = once(days, USER, attribute)
    again = (pl.col(USER) == pl.col(USER).shift(1)) & (pl.col(attribute) == pl.col(attribute).shift(1))
    again = again.fill_null(False)
    days = days.with_columns(
        age_before=pl.when(again.shift(-1, fill_value=False)).then(pl.col("age").shift(-1)),
        pair=(~again).cum_sum().set_sorted(),  # grouping by one sorted number is much less work than by two columns
    )
    features = [feature().alias(f"{prefix}_{feature.__name__}") for feature in history.FEATURES]
    first = pl.col(USER).first(), pl.col(attribute).first().alias(f"{prefix}_{name}")
    entries = days.group_by("pair", maintain_order=True).agg(*first, *features).drop("pair")
    entries = entries.sort(USER, f"{prefix}_last_days", f"{prefix}_{name}")
    return entries.group_by(USER, maintain_order=True).agg(pl.all().head(length))


def favourite(known: pl.DataFrame) -> pl.DataFrame:
    """``favourite_context``: that of most visits in the last 16 horizons, then ever, then newest, then first by name."""
    in_context = known.filter(pl.col(CONTEXT).is_not_null())
    visits = in_context.group_by(USER, CONTEXT, PERIOD).agg(pl.col("age", "horizons").min())
    counts = visits.group_by(USER, CONTEXT).agg(
        (pl.col("horizons") <= STEPS["16x"]).sum().alias("recent"), pl.len().alias("ever"), pl.col("age").min()
    )
    counts = counts.sort(USER, "recent", "ever", "age", CONTEXT, descending=[False, True, True, False, False])
    return counts.group_by(USER, maintain_order=True).agg(pl.col(CONTEXT).first().alias("favourite_context"))


def sequences(known: pl.DataFrame, length: int) -> pl.DataFrame:
    """``sequence_item`` and ``sequence_days``: the newest events, oldest first; of one instant the first items by name are newest."""
    return known.group_by(USER, maintain_order=True).agg(
        pl.col(ITEM).head(length).reverse().alias("sequence_item"),
        pl.col("age").cast(pl.Float32).head(length).reverse().alias("sequence_days"),
    )
