"""Recall's channels as one model: fitted together, asked together."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from narrows.stage import Asof, Narrowed, Shard
from stages.recall.channel import Channel, Proposer
from stages.recall.channels import build
from stages.recall.merge import merge
from stages.recall.query import Query

if TYPE_CHECKING:
    from stages.recall import Recall


@dataclass(frozen=True)
class RecallModel:
    """Who answers for each channel, and how often the data has an item again."""

    proposers: Mapping[str, Proposer]
    """By the channel's name, in the order of the columns."""
    repeat_share: float
    """Share of (user, item) pairs with events on two days or more."""

    def save(self, folder: Path) -> None:
        """A folder for each channel that learned something, and recall.json."""
        for name, proposer in self.proposers.items():
            if not isinstance(proposer, Channel):
                (folder / name).mkdir()
                proposer.save(folder / name)
        (folder / "recall.json").write_text(json.dumps({"repeat_share": self.repeat_share}))


def fit(room: Recall, events: pa.Table, users: pa.Table, items: pa.Table, asof: Asof) -> RecallModel:
    """Every channel learns from what was known at the as-of."""
    query = Query(users, items)
    count = query.of_history("count")
    proposers = {name: each.fit(query, events, asof.end) for name, each in build(room.channels).items()}
    return RecallModel(proposers, float(np.mean(count >= 2)) if len(count) else 0.0)


def load(room: Recall, folder: Path) -> RecallModel:
    """What `RecallModel.save` wrote."""
    share = json.loads((folder / "recall.json").read_text())["repeat_share"]
    return RecallModel({name: each.load(folder / name) for name, each in build(room.channels).items()}, share)


def narrow(room: Recall, model: RecallModel, shard: Shard) -> Narrowed:
    """The catalogue to candidates."""
    query = Query(shard.users, shard.items)
    channels = build(room.channels)
    proposals = {
        name: model.proposers[name].propose(query, int(room.oversample * each.quota) + 1)
        for name, each in channels.items()
    }
    again = model.repeat_share >= room.min_repeat_share
    return merge(query, channels, proposals, room.n, room.fresh_days, room.history_days, again)
