"""As-ofs that were missed: those between the last lists and a run, of which an outage or a failed run left none."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from narrows.asof import Asof

if TYPE_CHECKING:
    from narrows.pipeline import Pipeline
    from narrows.settings import Settings
    from narrows.store.partitions import Store


def publisher(pipeline: Pipeline) -> str:
    """The room that makes the lists: the one that publishes, or else the last."""
    return next((room.name for room in pipeline.rooms if hasattr(room, "publish")), pipeline.names[-1])


def missed(settings: Settings, store: Store, asof: Asof, every: timedelta) -> list[Asof]:
    """The as-ofs ``every`` so often before ``asof`` that lie after the last lists, oldest first.

    Of more than ``[engine] catch_up`` the latest. None where there were no lists before, or some of ``asof`` or later:
    what came before those is past.
    """
    made = store.partitions(publisher(settings.pipeline))
    if not made or made[-1] >= asof:
        return []
    between = -((made[-1] - asof) // every) - 1
    count = min(between, settings.engine.catch_up)
    return [asof - number * every for number in range(count, 0, -1)]
