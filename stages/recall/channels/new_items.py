"""The channel of items that are new."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from stages.recall.channel import Channel, channel

if TYPE_CHECKING:
    from stages.recall.query import Proposals, Query


@channel
class NewItems(Channel):
    """Proposes items that became available lately (`available_at` of the items table), of the kinds that the user likes.

    The formula and its source stand in `stages.recall.new_items`.
    """

    name = "new_items"
    reason = "new_item"
    meaning = "it is new, of a kind that the user likes"

    quota: int = Field(20, ge=0)
    within: float = Field(2.0, gt=0)
    """An item is new for so many horizons."""

    def propose(self, query: Query, n: int) -> Proposals:
        """At most ``n`` items; none where no item's day is known."""
        from stages.recall.new_items import of_liked_kinds

        return of_liked_kinds(query, self.within, n)
