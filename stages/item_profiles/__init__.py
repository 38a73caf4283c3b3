"""One row per item: what it is and what happened to it, as of the partition."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any, ClassVar

from pydantic import Field

from narrows.asof import DAY
from narrows.stage import Asof, Table, TableStage, room


@room
class ItemProfiles(TableStage):
    """Popularity over several windows, contexts and segments, recencies, repeats, prices and side information.

    All of positives that nothing undid; who looked at the item is counted apart, in ``viewers`` and its like.

    Items of the source's items table have a row even before their first event, from the instant on at which they are
    available, where the table says it. ``expected_demand`` is a forecast: the
    item's share of what will be wanted in the coming horizon.
    """

    name: ClassVar[str] = "item_profiles"

    with_windows: ClassVar[bool] = True

    demand_cuts: int = Field(24, ge=0)
    """Earlier instants, an eighth of the horizon apart, that the forecast of the demand learns from; 0 = no forecast."""
    demand_days: float = Field(1.0, ge=0)
    """Where the instants reach less far back than so many days, there are as many more as do: the hours of a day differ."""
    demand_events: int = Field(5_000_000, ge=1)
    """About so many events at most are read for a forecast; of more, those of a share of the users, drawn by a hash."""

    reach: float = Field(0.0, ge=0)
    """Horizons of events that a profile knows, to the start of a visit's period; 0 = all. It bounds what an update costs."""

    def transform(
        self, events: Table, items: Table, users: Table, *, session: Any, asofs: list[Asof], horizon: timedelta,
        visit: timedelta,
    ) -> Any:  # fmt: skip
        from narrows.engine.histories import Scale
        from stages.item_profiles.demand import CUTS_A_HORIZON, forecasts
        from stages.item_profiles.profile import profile

        cuts = max(self.demand_cuts, math.ceil(self.demand_days * DAY / (horizon / CUTS_A_HORIZON)))
        given = (horizon, cuts, self.demand_events)
        expected = forecasts(events, asofs, *given) if self.demand_cuts else {}
        return profile(
            session,
            events,
            items,
            users,
            asofs,
            Scale(horizon, visit, self.reach * horizon if self.reach else None),
            expected,
        )
