"""Recall's channels as one model: fitted together, asked together."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from features.ladder import best_step
from features.lookup import CATALOGUE, Catalogue
from narrows.asof import DAY
from narrows.durations import parse
from narrows.stage import Asof, Narrowed, Shard
from stages.recall import quotas
from stages.recall.channel import Channel, Proposer
from stages.recall.channels import build
from stages.recall.merge import merge
from stages.recall.query import Query

if TYPE_CHECKING:
    from stages.recall import Recall


@dataclass(frozen=True)
class Learned:
    """What the data say of themselves, beside the channels."""

    repeat_share: float
    """Share of (user, item) pairs with events on two visits or more."""
    horizon: float
    """Days."""
    visit: float
    """Days."""
    step: str
    """Of the ladder: the popularity that suits the data."""
    quotas: dict[str, int]
    """Of every channel: the most candidates that it gives a user."""
    asof: str
    """Its end, as ISO 8601."""

    def query(self, users: pa.Table, items: Catalogue, between_fits: bool) -> Query:
        """What the channels are asked."""
        return Query(users, items, self.horizon, self.visit, self.step, between_fits)


@dataclass(frozen=True)
class RecallModel:
    """Who answers for each channel, and what was learned for all of them."""

    proposers: Mapping[str, Proposer]
    """By the channel's name, in the order of the columns."""
    learned: Learned

    @property
    def notes(self) -> dict[str, Any]:
        """What is logged of the model."""
        return {"quotas": self.learned.quotas, "step": self.learned.step, "repeat_share": self.learned.repeat_share}

    def save(self, folder: Path) -> None:
        """A folder for each channel that learned something, and recall.json."""
        for name, proposer in self.proposers.items():
            if not isinstance(proposer, Channel):
                (folder / name).mkdir()
                proposer.save(folder / name)
        (folder / "recall.json").write_text(json.dumps(asdict(self.learned)))


def fit(
    room: Recall, events: pa.Table, users: pa.Table, items: pa.Table, asof: Asof, horizon: timedelta, visit: timedelta,
    before: pa.Table | None = None, seen: Sequence[quotas.Seen] = (),
) -> RecallModel:  # fmt: skip
    """Every channel learns from what was known at the as-of.

    Args:
        room: the settings.
        events: user_id, item_id, event_time.
        users: user_profiles.
        items: item_profiles.
        asof: of the model.
        horizon: of the lists.
        visit: the period of one.
        before: item_profiles of a horizon before, where they are known.
        seen: what the channels ranked at earlier as-ofs, where there are any.
    """
    step = room.step or best_step(before, items)
    query = Query(users, items, horizon / DAY, visit / DAY, step)
    channels, count = build(room.channels), query.of_history("count")
    start = {name: each.quota for name, each in channels.items()}
    fixed = {name: quota for name, quota in start.items() if "quota" in room.channels.get(name, {})}
    learned = Learned(
        float(np.mean(count >= 2)) if len(count) else 0.0, query.horizon, query.visit, step,
        quotas.learned(seen, start, fixed, room.n, room.enough), asof.end.isoformat(),
    )  # fmt: skip
    return RecallModel({name: each.fit(query, events, asof.end) for name, each in channels.items()}, learned)


def load(room: Recall, folder: Path) -> RecallModel:
    """What `RecallModel.save` wrote."""
    learned = Learned(**json.loads((folder / "recall.json").read_text()))
    return RecallModel({name: each.load(folder / name) for name, each in build(room.channels).items()}, learned)


def narrow(room: Recall, model: RecallModel, shard: Shard) -> Narrowed:
    """The catalogue to candidates.

    A channel proposes as deep as its first quota at least, so that a later run can see what more of it would be worth.
    """
    learned, channels = model.learned, build(room.channels)
    between = timedelta(0) < shard.asof.end - datetime.fromisoformat(learned.asof) < parse(room.refit)
    query = learned.query(shard.users, shard.once(CATALOGUE, Catalogue), between)
    depth = {name: int(room.oversample * max(each.quota, learned.quotas[name])) + 1 for name, each in channels.items()}
    proposals = {name: model.proposers[name].propose(query, depth[name]) for name in channels}
    again = learned.repeat_share >= room.min_repeat_share
    return merge(query, channels, proposals, learned.quotas, room.n, room.fresh, room.fresh_own, again)
