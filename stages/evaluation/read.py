"""From published tables to what is judged: only the columns and rows that are needed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from narrows.columns import EVENT_TIME, ITEM, KEPT, RANK, REASON, USER
from narrows.engine.undo import positives
from narrows.stage import Asof, Table
from stages.evaluation.run import Run

if TYPE_CHECKING:
    from stages.evaluation import Evaluation

PROFILE = (USER, "segment", "history_item", "history_decayed", "history_count")
CATALOGUE = (ITEM, "users_7d", "users_28d", "users_365d")


def run(
    settings: Evaluation,
    recommendations: Table,
    rooms: Mapping[str, Table],
    user_profiles: Table,
    item_profiles: Table,
    truth: Table,
    last: Asof,
) -> Run:
    """Read the tables of a run; ``truth`` is events, of which positives after the as-of and up to ``last`` count,
    but those that were undone by then."""
    scene = pc.field("scene") == settings.scene if "scene" in recommendations.columns else None
    return Run(
        positives(truth, [USER, ITEM], horizon_of(truth.asof, last)),
        user_profiles.arrow([name for name in user_profiles.columns if name in PROFILE]),
        item_profiles.arrow([name for name in item_profiles.columns if name in CATALOGUE]),
        {name: table.arrow([column for column in table.columns if _wanted(column)]) for name, table in rooms.items()},
        recommendations.arrow([USER, ITEM, RANK], scene),
        settings.cutoffs,
        settings.resamples,
        settings.confidence,
        settings.seed,
    )


def horizon_of(asof: Asof, last: Asof) -> Any:
    """The rows that happened after the as-of and up to ``last``, as a dataset filter."""
    begin, end = (pa.scalar(each.end, pa.timestamp("us", "UTC")) for each in (asof, last))
    return (pc.field(EVENT_TIME) >= begin) & (pc.field(EVENT_TIME) < end)


def _wanted(column: str) -> bool:
    fixed = (USER, ITEM, KEPT, REASON, RANK, "rank_score")
    return column in fixed or column.endswith("_rank") or column.startswith("rank_after_")
