"""Recall: the catalogue to some hundreds of candidates for each user, by several channels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from narrows.stage import Narrowed, NarrowingStage, Shard, Table

if TYPE_CHECKING:
    from stages.recall.model import RecallModel


@dataclass(frozen=True, kw_only=True)
class Recall(NarrowingStage):
    """Candidates (user_id, item_id) with every channel's ``<channel>_score`` f32 and ``<channel>_rank`` i32 (null
    where the channel did not propose the item), recall_score f32 and recall_rank i32.

    Channels: own (history with decay), popular_7d, popular_28d, segment, context (popularity), item_to_item, ease, two_tower.
    """

    name: ClassVar[str] = "recall"
    users: ClassVar[str] = "user_profiles"
    items: ClassVar[str] = "item_profiles"

    n: int = 400
    """The most candidates of a user."""
    own: int = 250
    """Quota: the user's own items."""
    popular_7d: int = 30
    """Quota: items with the most users in the last 7 days."""
    popular_28d: int = 40
    """Quota: the same of the last 28 days."""
    segment: int = 20
    """Quota: items with the most users of the user's segment in the last 28 days."""
    context: int = 40
    """Quota: items with the most users at the user's favourite context in the last 28 days."""
    item_to_item: int = 30
    """Quota: items that go with the user's latest."""
    ease: int = 30
    """Quota: items that the user's together speak for, and that are on the rise."""
    two_tower: int = 30
    """Quota: items near the user's vector."""
    spare: float = 1.1
    """A channel proposes this many times its quota, so that what is not eligible is made up for."""
    fresh_days: float = 60.0
    """An item new to the user must have been seen within this many days."""
    history_days: float = 365.0
    """An item of the user's own must have been seen, by anyone, within this many days."""
    min_repeat_share: float = 0.01
    """Where fewer of the (user, item) pairs occur again, an item is not offered to who had it."""
    min_users: int = 20
    """Item-to-item and two-tower know the items that this many users had."""
    neighbours: int = 50
    """Item-to-item: neighbours kept of an item."""
    shrink: float = 0.1
    """Item-to-item: added to the denominator of the cosine; damps rare items."""
    recent: int = 100
    """Item-to-item: how many of the user's latest items vote."""
    recent_half_life: float = 30.0
    """Item-to-item: days after which a vote counts half."""
    ease_items: int = 2000
    """EASE: of how many of the latest 28 days' most popular items."""
    ease_ridge: float = 500.0
    """EASE: ridge on its weights."""
    index: str = "exact"
    """Two-tower: the FAISS index: exact, ivf or hnsw."""
    width: int = 32
    """Two-tower: dimensions of an embedding."""
    train_days: float = 60.0
    """Two-tower: learns from the first purchases of this many days."""
    pairs: int = 60_000
    """Two-tower: at most this many of them."""
    epochs: int = 2
    """Two-tower: passes over them."""
    learning_rate: float = 0.005
    """Two-tower: of Adam."""
    batch: int = 1024
    """Two-tower: pairs of a step; the others of a batch are the negatives."""
    refit: str = "1d"
    """How often the model is fitted again; between, its last model narrows. A duration such as 1d or 6h."""
    seed: int = 1
    """Two-tower: of the first weights and the order of the pairs."""

    def __post_init__(self) -> None:
        for name in ("n", "min_users", "neighbours", "recent", "ease_items", "width", "pairs", "epochs", "batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)}: give 1 or more.")
        for name in ("recent_half_life", "ease_ridge", "learning_rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} = {getattr(self, name)}: give a number above 0.")
        if not self.spare >= 1:
            raise ValueError(f"spare = {self.spare}: give 1 or more.")
        if self.index not in ("exact", "ivf", "hnsw"):
            raise ValueError(f"index = {self.index!r}: give exact, ivf or hnsw.")

    def fit(self, events: Table, user_profiles: Table, item_profiles: Table) -> RecallModel:
        """Item similarities, towers and the index of their item vectors."""
        from stages.recall.model import fit

        seen = events.arrow(["user_id", "item_id", "event_time"])
        return fit(self, seen, user_profiles.arrow(), item_profiles.arrow(), user_profiles.asof)

    def load(self, folder: Path) -> RecallModel:
        """What the model's ``save`` wrote."""
        from stages.recall.model import load

        return load(self, folder)

    def narrow(self, model: RecallModel, shard: Shard) -> Narrowed:
        """At most ``n`` candidates of each user; removed: ``quota`` or ``not_eligible``."""
        from stages.recall.model import narrow

        return narrow(self, model, shard)
