"""Recall's channels as one model: fitted together, asked together."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from narrows.stage import Asof, Narrowed, Shard
from stages.recall.ease import Ease
from stages.recall.item_to_item import ItemToItem
from stages.recall.merge import OWN, merge
from stages.recall.own_history import OwnHistory
from stages.recall.popular import Popular, PopularWithin
from stages.recall.query import Channel, Query
from stages.recall.two_tower import TwoTowerChannel

if TYPE_CHECKING:
    from stages.recall import Recall


@dataclass(frozen=True)
class RecallModel:
    """The channels that learn, and what the data says of taking an item again."""

    item_to_item: ItemToItem
    ease: Ease
    two_tower: TwoTowerChannel
    repeat_share: float
    """Share of (user, item) pairs with events on two days or more."""

    def save(self, folder: Path) -> None:
        """Parquet, npz, safetensors, a FAISS file, JSON."""
        self.item_to_item.save(folder)
        self.ease.save(folder)
        self.two_tower.save(folder)
        (folder / "recall.json").write_text(json.dumps({"repeat_share": self.repeat_share}))


def fit(room: Recall, events: pa.Table, users: pa.Table, items: pa.Table, asof: Asof) -> RecallModel:
    """Learns the item-to-item, the linear and the two-tower channel from what was known at the as-of."""
    query = Query(users, items)
    count = query.of_history("count")
    near = ItemToItem.fit(query, room.neighbours, room.min_users, room.shrink, room.recent, room.recent_half_life)
    ease = Ease.fit(query, room.ease_items, room.ease_ridge)
    tower = TwoTowerChannel.fit(
        query, events, asof.end, room.index, room.width, room.min_users, room.pairs, room.train_days,
        room.epochs, room.learning_rate, room.batch, room.seed,
    )  # fmt: skip
    return RecallModel(near, ease, tower, float(np.mean(count >= 2)) if len(count) else 0.0)


def load(room: Recall, folder: Path) -> RecallModel:
    """What `save` wrote."""
    share = json.loads((folder / "recall.json").read_text())["repeat_share"]
    near = ItemToItem.load(folder, room.recent, room.recent_half_life)
    return RecallModel(near, Ease.load(folder), TwoTowerChannel.load(folder), share)


def narrow(room: Recall, model: RecallModel, shard: Shard) -> Narrowed:
    """The catalogue to candidates."""
    query = Query(shard.users, shard.items)
    channels: list[tuple[Channel, int]] = [
        (OwnHistory(OWN), room.own),
        (Popular("popular_7d", "users_7d"), room.popular_7d),
        (Popular("popular_28d", "users_28d"), room.popular_28d),
        (PopularWithin("segment", "segment", "28d"), room.segment),
        (PopularWithin("context", "context", "28d"), room.context),
        (model.item_to_item, room.item_to_item),
        (model.ease, room.ease),
        (model.two_tower, room.two_tower),
    ]
    proposed = {channel.name: channel.propose(query, int(room.spare * n) + 1) for channel, n in channels}
    quotas = {channel.name: n for channel, n in channels}
    again = model.repeat_share >= room.min_repeat_share
    return merge(query, proposed, quotas, room.n, room.fresh_days, room.history_days, again)
