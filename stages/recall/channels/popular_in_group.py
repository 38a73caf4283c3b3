"""The channels of what many users like the user had lately."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from stages.recall.channel import Channel, channel

if TYPE_CHECKING:
    from stages.recall.query import Proposals, Query


@channel
class Segment(Channel):
    """Proposes the items with the most users of the user's segment lately, of those that the user did not have."""

    name = "segment"
    reason = "popular_in_segment"
    meaning = "many users of the segment have it now"

    quota: int = Field(20, ge=0)

    def propose(self, query: Query, n: int) -> Proposals:
        """At most ``n`` items; none for a user without a segment."""
        from stages.recall.popularity import most_users_in_group

        return most_users_in_group(query, "segment", "segment", n)


@channel
class Context(Channel):
    """Proposes the items with the most users at the user's favourite context lately, of those that the user did not have."""

    name = "context"
    reason = "popular_in_context"
    meaning = "many users have it now where the user shops"

    quota: int = Field(40, ge=0)

    def propose(self, query: Query, n: int) -> Proposals:
        """At most ``n`` items; none for a user without a context."""
        from stages.recall.popularity import most_users_in_group

        return most_users_in_group(query, "favourite_context", "context", n)
