"""Recall: the catalogue to some hundreds of candidates for each user, by several channels."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from narrows.stage import Narrowed, NarrowingStage, Past, Recent, Shard, Table, room

if TYPE_CHECKING:
    from narrows.settings import Settings
    from stages.recall.model import RecallModel


@room
class Recall(NarrowingStage):
    """Candidates (user_id, item_id) with every channel's ``<channel>_score`` f32 and ``<channel>_rank`` i32 (null
    where the channel did not propose the item), recall_reason (that of the channel which ranks it best), recall_score
    f32 and recall_rank i32.

    The channels are listed in [channels](channels.md), each with its settings.
    """

    name: ClassVar[str] = "recall"
    users: ClassVar[str] = "user_profiles"
    items: ClassVar[str] = "item_profiles"
    past: ClassVar[dict[str, str | int]] = {"item_profiles": 2, "recall": 2}
    registers: ClassVar[tuple[str, ...]] = ("stages.recall.channels",)
    """Modules that register what other rooms read: the channels' scores are pair features."""
    renamed: ClassVar[dict[str, str]] = {
        "spare": "oversample = {}",
        "own": "quota = {} in [recall.channels.own]",
        "popular_7d": "quota = {} in [recall.channels.popular_1x]",
        "popular_28d": "quota = {} in [recall.channels.popular_4x]",
        "fresh_days": "fresh, in horizons: {} days divided by the horizon",
        "history_days": "fresh_own, in horizons: {} days divided by the horizon",
        "segment": "quota = {} in [recall.channels.segment]",
        "context": "quota = {} in [recall.channels.context]",
        "item_to_item": "quota = {} in [recall.channels.item_to_item]",
        "ease": "quota = {} in [recall.channels.ease]",
        "two_tower": "quota = {} in [recall.channels.two_tower]",
        "min_users": "min_users = {} in [recall.channels.item_to_item] and in [recall.channels.two_tower]",
        "neighbours": "neighbours = {} in [recall.channels.item_to_item]",
        "shrink": "shrink = {} in [recall.channels.item_to_item]",
        "recent": "recent = {} in [recall.channels.item_to_item]",
        "recent_half_life": "recent_half_life = {} in [recall.channels.item_to_item]",
        "ease_items": "items = {} in [recall.channels.ease]",
        "ease_ridge": "ridge = {} in [recall.channels.ease]",
        "index": 'index = "{}" in [recall.channels.two_tower]',
        "width": "embedding_size = {} in [recall.channels.two_tower]",
        "train_days": "train, in horizons, in [recall.channels.two_tower]: {} days divided by the horizon",
        "pairs": "pairs = {} in [recall.channels.two_tower]",
        "epochs": "epochs = {} in [recall.channels.two_tower]",
        "learning_rate": "learning_rate = {} in [recall.channels.two_tower]",
        "batch": "batch = {} in [recall.channels.two_tower]",
        "seed": "seed = {} in [recall.channels.two_tower]",
    }
    """Former keys, and how they are written now."""

    n: int = Field(400, ge=1)
    """The most candidates of a user."""
    enough: float = Field(0.995, gt=0, le=1)
    """The quotas end where the candidates hold this share of the positives that the channels rank, if that takes fewer than ``n``."""
    channels: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Settings of single channels, as in ``[recall.channels.ease]`` with ``quota = 20``: see [channels](channels.md)."""
    oversample: float = Field(1.1, ge=1)
    """A channel proposes this many times its quota, as some of its items are not eligible."""
    fresh: float = Field(8.0, ge=0)
    """An item new to the user must have been seen within this many horizons."""
    fresh_own: float = Field(52.0, ge=0)
    """An item of the user's own must have been seen, by anyone, within this many horizons."""
    min_repeat_share: float = Field(0.01, ge=0)
    """Where fewer of the (user, item) pairs occur on two visits, an item is not offered to who had it: 0 = it always is, above 1 = never."""
    step: Literal["", "64th", "16th", "4th", "1x", "4x", "16x", "64x"] = ""
    """The step of the ladder whose popularity suits the data; empty = learned: that whose list of a horizon ago was worth most."""
    fit_users: int = Field(100_000, ge=1)
    """About so many users at most whose histories the channels learn from, drawn by a hash."""
    refit: str = "1d"
    """How often the model is fitted again; between, its last model narrows. A duration such as 1d or 6h."""

    def check(self, settings: Settings) -> None:
        """Every channel exists, its settings are right, and its columns are not those of a room.

        Raises:
            ValueError: they are not; one line with the key and the remedy.
        """
        from stages.recall.channels import build

        if taken := build(self.channels).keys() & set(settings.pipeline.names):
            raise ValueError(f"channels.{min(taken)}: a room has this name; give the channel another.")

    def fit(
        self, events: Table, user_profiles: Table, item_profiles: Recent, recall: Past, horizon: timedelta, visit: timedelta,
    ) -> RecallModel:  # fmt: skip
        """What the channels learn, and from the flow of earlier as-ofs how many candidates each may give."""
        from narrows.engine.undo import positives
        from narrows.sampling import some_users
        from stages.recall import quotas
        from stages.recall.channels import build
        from stages.recall.model import fit

        who, asof = some_users(user_profiles, self.fit_users), user_profiles.asof
        columns = ["user_id", "item_id", "event_time"]
        users, items = user_profiles.arrow(where=who), item_profiles[asof].arrow()
        before = item_profiles[asof - horizon].arrow() if asof - horizon in item_profiles else None
        seen = quotas.read(recall, events, horizon, list(build(self.channels)))
        return fit(self, positives(events, columns, who), users, items, asof, horizon, visit, before, seen)

    def load(self, folder: Path) -> RecallModel:
        """What the model's ``save`` wrote."""
        from stages.recall.model import load

        return load(self, folder)

    def narrow(self, model: RecallModel, shard: Shard) -> Narrowed:
        """At most ``n`` candidates of each user; removed: ``quota`` or ``not_eligible``."""
        from stages.recall.model import narrow

        return narrow(self, model, shard)
