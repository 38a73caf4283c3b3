"""One row per user: what it did, how often, how lately, and in which order, as of the partition."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any, ClassVar

from narrows.stage import Table, TableStage


@dataclass(frozen=True, kw_only=True)
class UserProfiles(TableStage):
    """Counts and recencies over several windows, histories by item, category, subcategory and brand, and the sequence.

    Users of the source's users table have a row even before their first event.
    """

    name: ClassVar[str] = "user_profiles"

    history_length: int = 1000
    """Distinct items of a user that are kept, newest first."""
    kinds_length: int = 400
    """Distinct categories, subcategories and brands of a user that are kept, newest first."""
    sequence_length: int = 50
    """Events of a user that are kept in order."""
    visits_length: int = 100
    """Days with an event that are kept, newest first."""

    def __post_init__(self) -> None:
        for key in ("history_length", "kinds_length", "sequence_length", "visits_length"):
            if getattr(self, key) < 1:
                raise ValueError(f"{key} = {getattr(self, key)}: give 1 or more.")

    def transform(self, events: Table, items: Table, users: Table, *, session: Any, asofs: list[date]) -> Any:
        from stages.user_profiles.profile import profile

        return profile(session, events, items, users, self, asofs)
