"""The channel of items that are new."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from stages.recall.channel import Channel, channel

if TYPE_CHECKING:
    import pyarrow as pa

    from stages.recall.new_items import NewItemsModel
    from stages.recall.query import Query


@channel
class NewItems(Channel):
    """Proposes items that became available lately, by how much such items are wanted and how much the user likes their kind.

    An item whose day is not known is new from its first event on. The formulas and their sources stand with
    `stages.recall.new_items.NewItemsModel`.
    """

    name = "new_items"
    reason = "new_item"
    meaning = "it is new, of a kind that the user likes"
    score_feature = True

    quota: int = Field(20, ge=0)
    within: float = Field(2.0, gt=0)
    """An item is new for so many horizons."""

    def fit(self, query: Query, events: pa.Table, end: datetime) -> NewItemsModel:
        """How much items that were new at earlier instants were wanted, and the users' liking of each kind."""
        from stages.recall.new_items import fit

        return fit(self, query, events, end)

    def load(self, folder: Path) -> NewItemsModel:
        """What the model's ``save`` wrote."""
        from stages.recall.new_items import load

        return load(folder)
