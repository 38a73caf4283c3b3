"""The channel of what the user had before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from stages.recall.channel import Channel, channel

if TYPE_CHECKING:
    from stages.recall.query import Proposals, Query


@channel
class Own(Channel):
    """Proposes the user's own items; score = visits with the item, a visit counting half every 16 horizons."""

    name = "own"
    reason = "because_history"
    meaning = "the user has had it before"

    quota: int = Field(250, ge=0)

    def propose(self, query: Query, n: int) -> Proposals:
        """At most ``n`` items of each user's history."""
        from stages.recall.query import Proposals

        known = query.history >= 0
        score = query.of_history("decayed_16x")
        return Proposals.best(query.owner[known], query.history[known], score[known], n)
