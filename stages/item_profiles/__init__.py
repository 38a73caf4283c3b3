"""One row per item: what it is and what happened to it, as of the partition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from narrows.stage import Asof, Table, TableStage

if TYPE_CHECKING:
    from narrows.source.files import Source


@dataclass(frozen=True, kw_only=True)
class ItemProfiles(TableStage):
    """Popularity over several windows, contexts and segments, recencies, repeats, prices and side information.

    Items of the source's items table have a row even before their first event.
    """

    name: ClassVar[str] = "item_profiles"

    with_windows: ClassVar[bool] = True

    group_days: int = 90
    """A context's or segment's users of an item count for this many days."""

    def __post_init__(self) -> None:
        if self.group_days < 1:
            raise ValueError(f"group_days = {self.group_days}: give 1 or more.")

    def transform(self, events: Table, *, session: Any, source: Source, asofs: list[Asof]) -> Any:
        from stages.item_profiles.profile import profile

        return profile(session, events, source.items(session), source.users(session), self, asofs)
