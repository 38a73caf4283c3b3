"""The channels of what many users had lately."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from stages.recall.channel import Channel, channel

if TYPE_CHECKING:
    from stages.recall.query import Proposals, Query


@channel
class Popular7d(Channel):
    """Proposes the items with the most users in the last 7 days, of those that the user did not have."""

    name = "popular_7d"
    reason = "popular"
    meaning = "many users have it now"

    def propose(self, query: Query, n: int) -> Proposals:
        """At most ``n`` items, the same for everyone up to what each user had."""
        from stages.recall.popularity import most_users

        return most_users(query, "users_7d", n)


@channel
class Popular28d(Channel):
    """Proposes the items with the most users in the last 28 days, of those that the user did not have."""

    name = "popular_28d"
    reason = "popular"
    meaning = "many users have it now"

    quota: int = Field(40, ge=0)

    def propose(self, query: Query, n: int) -> Proposals:
        """At most ``n`` items, the same for everyone up to what each user had."""
        from stages.recall.popularity import most_users

        return most_users(query, "users_28d", n)
