"""The channel of what goes with the user's latest items."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from stages.recall.channel import Channel, channel

if TYPE_CHECKING:
    import pyarrow as pa

    from stages.recall.item_to_item import ItemToItemModel
    from stages.recall.query import Query


@channel
class ItemToItem(Channel):
    """Proposes what goes with the user's latest items, by cosine over users.

    The formula and its source stand with `stages.recall.item_to_item.ItemToItemModel`.
    """

    name = "item_to_item"
    reason = "similar"
    meaning = "goes with what the user had lately"
    score_feature = True

    min_users: int = Field(20, ge=1)
    """Only items that this many users had have neighbours."""
    neighbours: int = Field(50, ge=1)
    """The most similar items that are kept for an item."""
    shrink: float = Field(0.1, ge=0)
    """Added to the denominator of the cosine; damps rare items."""
    recent: int = Field(100, ge=1)
    """How many of the user's latest items vote."""
    recent_half_life: float = Field(4.0, gt=0)
    """Horizons after which a vote counts half."""

    def fit(self, query: Query, events: pa.Table, end: datetime) -> ItemToItemModel:
        """The similarities of the items."""
        from stages.recall.item_to_item import fit

        return fit(self, query)

    def load(self, folder: Path) -> ItemToItemModel:
        """What the model's ``save`` wrote."""
        from stages.recall.item_to_item import load

        return load(self, folder)
