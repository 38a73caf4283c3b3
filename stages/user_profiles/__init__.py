"""One row per user: what it did, how often, how lately, and in which order, as of the partition."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar

from pydantic import Field

from narrows.stage import Asof, Table, TableStage, room


@room
class UserProfiles(TableStage):
    """Counts and recencies over several windows, histories by item, category, subcategory and brand, and the sequence.

    All of positives that nothing undid; what the user looked at stands apart, in the lists ``viewed_*``.

    Users of the source's users table have a row even before their first event.
    """

    name: ClassVar[str] = "user_profiles"

    with_windows: ClassVar[bool] = True

    history_length: int = Field(1000, ge=1)
    """Distinct items of a user that are kept, newest first."""
    kinds_length: int = Field(400, ge=1)
    """Distinct categories, subcategories and brands of a user that are kept, newest first."""
    sequence_length: int = Field(50, ge=1)
    """Events of a user that are kept in order."""
    visits_length: int = Field(100, ge=1)
    """Visits that are kept, newest first."""
    viewed_length: int = Field(200, ge=1)
    """Distinct items of a user's context events (views, carts) that are kept, newest first."""

    reach: float = Field(0.0, ge=0)
    """Horizons of events that a profile knows, to the start of a visit's period; 0 = all. It bounds what an update costs."""

    def transform(
        self, events: Table, items: Table, users: Table, *, session: Any, asofs: list[Asof], horizon: timedelta,
        visit: timedelta,
    ) -> Any:  # fmt: skip
        from narrows.engine.histories import Scale
        from stages.user_profiles.profile import profile

        return profile(
            session,
            events,
            items,
            users,
            self,
            asofs,
            Scale(horizon, visit, self.reach * horizon if self.reach else None),
        )
