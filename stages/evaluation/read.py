"""From published tables to what is judged: only the columns and rows that are needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from features.ladder import STEPS, best_step
from narrows.columns import CONTEXT, EVENT_TIME, ITEM, KEPT, RANK, REASON, REQUEST_WEIGHT, USER
from narrows.engine.undo import positives
from narrows.serving.schema import CONTEXT_PREFIX, EVERYONE
from narrows.stage import Asof, Recent, Table
from stages.evaluation.run import Run

if TYPE_CHECKING:
    from stages.evaluation import Evaluation

PROFILE = (USER, "segment", "history_item", "history_decayed_16x", "history_count")
CATALOGUE = (ITEM, *(f"users_{step}" for step in STEPS))
USERS = 50_000
"""Who are judged at once where only a sample has its flow, so that memory does not grow with the users."""


def run(
    settings: Evaluation,
    recommendations: Table,
    rooms: Mapping[str, Table],
    user_profiles: Table,
    item_profiles: Recent,
    truth: Table,
    last: Asof,
) -> Run:
    """Read the tables of a run; ``truth`` is events, of which those after the as-of and up to ``last`` are positives,
    but those that were undone by then.

    Where only a sample has its flow, the run is of the sample, and its ``judged`` reads the users who have a positive.
    """
    scene = pc.field("scene") == settings.scene if "scene" in recommendations.columns else None
    items = _catalogue(item_profiles[truth.asof])
    before = next((_catalogue(table) for asof, table in item_profiles.items() if asof < truth.asof), None)
    read = [name for name in (USER, ITEM, EVENT_TIME, CONTEXT) if name in truth.columns]
    taken = positives(truth, read, horizon_of(truth.asof, last))
    drawn = (best_step(before, items), settings.cutoffs, settings.resamples, settings.confidence, settings.seed)
    requests = next(iter(rooms.values())).requests if rooms else None
    of_users = [name for name in user_profiles.columns if name in PROFILE]
    if requests is None:
        users = user_profiles.arrow(of_users)
        tables = {name: _flow(table) for name, table in rooms.items()}
        published = recommendations.arrow([USER, ITEM, RANK], scene)
        fallback = _fallback(recommendations, published, taken, users, scene)
        return Run(taken, users, items, tables, published, fallback, *drawn)

    def of(chosen: pa.Array, truth: pa.Table, tables: dict[str, pa.Table], **more: Any) -> Run:
        mine = pc.field(USER).isin(chosen)
        if len(chosen):  # tables in the order of the users are read in part
            bounds = pc.min_max(chosen)
            mine &= (pc.field(USER) >= bounds["min"]) & (pc.field(USER) <= bounds["max"])
        published = recommendations.arrow([USER, ITEM, RANK], mine if scene is None else mine & scene)
        users = user_profiles.arrow(of_users, mine)
        fallback = None if "sample" in more else _fallback(recommendations, published, truth, users, scene)
        return Run(truth, users, items, tables, published, fallback, *drawn, known_users=user_profiles.rows, **more)

    served = _served(recommendations, scene)
    everyone = pc.unique(taken[USER]).sort()

    def parts() -> Iterator[Run]:
        for at in range(0, max(len(everyone), 1), USERS):
            chosen = everyone[at : at + USERS]
            yield of(chosen, taken.filter(pc.is_in(taken[USER], value_set=chosen)), {}, served=served)

    sample = requests.arrow()
    chosen = sample[USER].combine_chunks()
    unknown = pc.invert(pc.is_in(taken[USER], value_set=_known(user_profiles, everyone)))
    sampled = pc.is_in(taken[USER], value_set=chosen)
    in_flow = pc.field(REQUEST_WEIGHT).is_valid()
    tables = {name: _flow(table, in_flow) for name, table in rooms.items()}
    return of(chosen, taken.filter(pc.or_(unknown, sampled)), tables, sample=sample, parts=parts)


def _known(user_profiles: Table, users: pa.Array) -> pa.Array:
    """Those of the users who have a profile."""
    return user_profiles.arrow([USER], pc.field(USER).isin(users))[USER].combine_chunks()


def _fallback(
    recommendations: Table, published: pa.Table, truth: pa.Table, users: pa.Table, scene: Any
) -> pa.Table | None:
    """What the users of the truth are served who have no list: the fallback of their segment, else of the context of their
    first event, which a service knows when they ask, else everyone's.
    """
    if not recommendations.has_side("fallback"):
        return None
    rows = recommendations.side("fallback").arrow(["segment", RANK, ITEM], scene)
    who = pc.unique(truth[USER])
    who = who.filter(pc.invert(pc.is_in(who, value_set=pc.unique(published[USER]))))
    segment = pa.nulls(len(who), pa.string())
    if "segment" in users.column_names:
        at = pc.index_in(who, value_set=users[USER].combine_chunks().cast(who.type))
        segment = users["segment"].combine_chunks().cast(pa.string()).take(at)
    lists = pc.unique(rows["segment"])
    segment = pc.if_else(pc.is_in(segment, value_set=lists), segment, _first_context(truth, who))
    known = pc.fill_null(pc.is_in(segment, value_set=lists), False)
    served = pc.if_else(pc.and_(known, segment.is_valid()), segment, EVERYONE)
    joined = pa.table({USER: who, "segment": served}).join(rows, "segment", join_type="inner")
    return joined.select([USER, ITEM, RANK]).cast(published.schema)


def _first_context(truth: pa.Table, who: pa.Array) -> pa.Array:
    """Of each user the segment that names the context of the first event of ``truth``; null where it has none."""
    if CONTEXT not in truth.column_names:
        return pa.nulls(len(who), pa.string())
    rows = truth.sort_by([(EVENT_TIME, "ascending"), (CONTEXT, "ascending")])
    first = rows[CONTEXT].cast(pa.string()).take(pc.index_in(who, value_set=rows[USER].combine_chunks()))
    return pc.binary_join_element_wise(CONTEXT_PREFIX.removesuffix("="), first, "=").combine_chunks()


def _flow(table: Table, where: Any = None) -> pa.Table:
    return table.arrow([column for column in table.columns if _wanted(column)], where)


def _served(recommendations: Table, scene: Any) -> tuple[pa.Array, int]:
    """The distinct items of all lists, and how many lists there are; rows are read batch by batch."""
    items, lists = pa.array([], pa.string()), 0
    for batch in recommendations.batches([ITEM, RANK], scene):
        items = pc.unique(pa.concat_arrays([items, batch[ITEM]]))
        lists += pc.sum(pc.equal(batch[RANK], 1)).as_py() or 0
    return items, lists


def _catalogue(table: Table) -> pa.Table:
    return table.arrow([name for name in table.columns if name in CATALOGUE])


def horizon_of(asof: Asof, last: Asof) -> Any:
    """The rows that happened after the as-of and up to ``last``, as a dataset filter."""
    begin, end = (pa.scalar(each.end, pa.timestamp("us", "UTC")) for each in (asof, last))
    return (pc.field(EVENT_TIME) >= begin) & (pc.field(EVENT_TIME) < end)


def _wanted(column: str) -> bool:
    fixed = (USER, ITEM, KEPT, REASON, RANK, "rank_score")
    return column in fixed or column.endswith("_rank") or column.startswith("rank_after_")
