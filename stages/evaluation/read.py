"""From published tables to what is judged: only the columns and rows that are needed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from features.ladder import STEPS, best_step
from narrows.columns import EVENT_TIME, ITEM, KEPT, RANK, REASON, USER
from narrows.stage import Asof, Recent, Table
from stages.evaluation.run import Run

if TYPE_CHECKING:
    from stages.evaluation import Evaluation

PROFILE = (USER, "segment", "history_item", "history_decayed_16x", "history_count")
CATALOGUE = (ITEM, *(f"users_{step}" for step in STEPS))


def run(
    settings: Evaluation,
    recommendations: Table,
    rooms: Mapping[str, Table],
    user_profiles: Table,
    item_profiles: Recent,
    truth: Table,
    last: Asof,
) -> Run:
    """Read the tables of a run; ``truth`` is events, of which those after the as-of and up to ``last`` are positives."""
    scene = pc.field("scene") == settings.scene if "scene" in recommendations.columns else None
    now = _catalogue(item_profiles[truth.asof])
    before = next((_catalogue(table) for asof, table in item_profiles.items() if asof < truth.asof), None)
    begin, end = (pa.scalar(asof.end, pa.timestamp("us", "UTC")) for asof in (truth.asof, last))
    horizon = (pc.field(EVENT_TIME) >= begin) & (pc.field(EVENT_TIME) < end)
    return Run(
        truth.arrow([USER, ITEM], horizon),
        user_profiles.arrow([name for name in user_profiles.columns if name in PROFILE]),
        now,
        {name: table.arrow([column for column in table.columns if _wanted(column)]) for name, table in rooms.items()},
        recommendations.arrow([USER, ITEM, RANK], scene),
        best_step(before, now),
        settings.cutoffs,
        settings.resamples,
        settings.confidence,
        settings.seed,
    )


def _catalogue(table: Table) -> pa.Table:
    return table.arrow([name for name in table.columns if name in CATALOGUE])


def _wanted(column: str) -> bool:
    fixed = (USER, ITEM, KEPT, REASON, RANK, "rank_score")
    return column in fixed or column.endswith("_rank") or column.startswith("rank_after_")
