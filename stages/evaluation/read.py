"""From published tables to what is judged: only the columns and rows that are needed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from narrows.columns import EVENT_TIME, ITEM, KEPT, RANK, REASON, USER
from narrows.stage import Table, end_of
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
    last: date,
) -> Run:
    """Read the tables of a run; ``truth`` is events, of which those after the as-of and up to ``last`` are positives."""
    scene = pc.field("scene") == settings.scene if "scene" in columns(recommendations) else None
    begin, end = (pa.scalar(end_of(day), pa.timestamp("us", "UTC")) for day in (truth.asof, last))
    horizon = (pc.field(EVENT_TIME) >= begin) & (pc.field(EVENT_TIME) < end)
    return Run(
        truth.arrow([USER, ITEM], horizon),
        user_profiles.arrow([name for name in columns(user_profiles) if name in PROFILE]),
        item_profiles.arrow([name for name in columns(item_profiles) if name in CATALOGUE]),
        {name: table.arrow([column for column in columns(table) if _wanted(column)]) for name, table in rooms.items()},
        recommendations.arrow([USER, ITEM, RANK], scene),
        settings.cutoffs,
        settings.resamples,
        settings.confidence,
        settings.seed,
    )


def columns(table: Table) -> list[str]:
    """The column names of a published table."""
    return table.arrow(where=pc.scalar(False)).column_names


def _wanted(column: str) -> bool:
    fixed = (USER, ITEM, KEPT, REASON, RANK, "rank_score")
    return column in fixed or column.endswith("_rank") or column.startswith("rank_after_")
