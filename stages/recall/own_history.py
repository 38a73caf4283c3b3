"""Channel: what the user had before, by how often and how lately."""

from __future__ import annotations

from dataclasses import dataclass

from stages.recall.query import Proposals, Query


@dataclass(frozen=True)
class OwnHistory:
    """The user's own items; score = days with the item, a day counting half every 90 days."""

    name: str = "own"

    def propose(self, query: Query, n: int) -> Proposals:
        """At most n items of each user's history."""
        known = query.history >= 0
        score = query.of_history("decayed")
        return Proposals.best(query.owner[known], query.history[known], score[known], n)
