"""One row per user: what it did, how often, how lately, and in which order, as of the partition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from narrows.stage import Asof, Table, TableStage

if TYPE_CHECKING:
    from narrows.source.files import Source


@dataclass(frozen=True, kw_only=True)
class UserProfiles(TableStage):
    """Counts and recencies over several windows, histories by item, category, subcategory and brand, and the sequence.

    Users of the source's users table have a row even before their first event.
    """

    name: ClassVar[str] = "user_profiles"

    with_windows: ClassVar[bool] = True

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

    def transform(self, events: Table, *, session: Any, source: Source, asofs: list[Asof]) -> Any:
        from stages.user_profiles.profile import profile

        return profile(session, events, source.items(session), source.users(session), self, asofs)
