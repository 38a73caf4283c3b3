"""The channel of a linear model of every item by the user's others."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from stages.recall.channel import Channel, channel

if TYPE_CHECKING:
    import pyarrow as pa

    from stages.recall.ease import EaseModel
    from stages.recall.query import Query


@channel
class Ease(Channel):
    """Proposes what the user's items together say of an item (a linear model, EASE), times its trend: users of late for those of 64 horizons.

    The formula and its source stand with `stages.recall.ease.EaseModel`.
    """

    name = "ease"
    reason = "similar"
    meaning = "goes with what the user had lately"
    score_feature = True

    items: int = Field(2000, ge=1)
    """The model knows this many items: those with the most users lately. Its work grows with the cube."""
    ridge: float = Field(500.0, gt=0)
    """The ridge penalty on the weights."""

    def fit(self, query: Query, events: pa.Table, end: datetime) -> EaseModel:
        """The weights between the items."""
        from stages.recall.ease import fit

        return fit(self, query)

    def load(self, folder: Path) -> EaseModel:
        """What the model's ``save`` wrote."""
        from stages.recall.ease import load

        return load(folder)
