"""The channel of what the user looked at and did not take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from stages.recall.channel import Channel, channel

if TYPE_CHECKING:
    from stages.recall.query import Proposals, Query


@channel
class Viewed(Channel):
    """Proposes the items that the user looked at (events of the kind context) and did not take since, the latest first.

    Score = 1 / (1 + days since). Without such events it proposes nothing.
    """

    name = "viewed"
    reason = "because_viewed"
    meaning = "the user looked at it lately"

    quota: int = Field(20, ge=0)

    def propose(self, query: Query, n: int) -> Proposals:
        """At most ``n`` items of each user's context events."""
        import numpy as np
        import pyarrow as pa

        from features.lookup import codes, flat
        from stages.recall.query import Proposals

        if "viewed_item" not in query.users.column_names:  # profiles of another pipeline
            return Proposals.none()
        offsets, names = flat(query.users, "viewed_item")
        days = flat(query.users, "viewed_last_days")[1].cast(pa.float32()).to_numpy(zero_copy_only=False)
        user, item = np.repeat(np.arange(query.users.num_rows), np.diff(offsets)), codes(names, query.ids)
        waits = (item >= 0) & (days < query.last_days(user, item))
        return Proposals.best(user[waits], item[waits], 1 / (1 + days[waits]), n)
