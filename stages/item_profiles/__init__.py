"""One row per item: what it is and what happened to it, as of the partition."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any, ClassVar

from narrows.stage import Table, TableStage


@dataclass(frozen=True, kw_only=True)
class ItemProfiles(TableStage):
    """Popularity over several windows, contexts and segments, recencies, repeats, prices and side information.

    Items of the source's items table have a row even before their first event.
    """

    name: ClassVar[str] = "item_profiles"

    group_days: int = 90
    """A context's or segment's users of an item count for this many days."""

    def __post_init__(self) -> None:
        if self.group_days < 1:
            raise ValueError(f"group_days = {self.group_days}: give 1 or more.")

    def transform(self, events: Table, items: Table, users: Table, *, session: Any, asofs: list[date]) -> Any:
        from stages.item_profiles.profile import profile

        return profile(session, events, items, users, self, asofs)
