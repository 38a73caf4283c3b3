"""One row per item: what it is and what happened to it, as of the partition."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar

from narrows.stage import Asof, Table, TableStage, room


@room
class ItemProfiles(TableStage):
    """Popularity over several windows, contexts and segments, recencies, repeats, prices and side information.

    All of positives that nothing undid; who looked at the item is counted apart, in ``viewers`` and its like.

    Items of the source's items table have a row even before their first event.
    """

    name: ClassVar[str] = "item_profiles"

    with_windows: ClassVar[bool] = True

    def transform(
        self, events: Table, items: Table, users: Table, *, session: Any, asofs: list[Asof], horizon: timedelta,
        visit: timedelta,
    ) -> Any:  # fmt: skip
        from narrows.engine.histories import Scale
        from stages.item_profiles.profile import profile

        return profile(session, events, items, users, asofs, Scale(horizon, visit))
