"""The channel of the items nearest the user's vector."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from stages.recall.channel import Channel, channel

if TYPE_CHECKING:
    import pyarrow as pa

    from stages.recall.query import Query
    from stages.recall.two_tower import TwoTowerModel


@channel
class TwoTower(Channel):
    """Proposes the items nearest the user's vector, in a FAISS index, of those that the user did not have.

    The network and its source stand in `stages.recall.network`.
    """

    name = "two_tower"
    reason = "two_tower"
    meaning = "near what the user likes"
    score_feature = True

    min_users: int = Field(20, ge=1)
    """Only items that this many users had have a vector; between two fits one that comes to it has one by its category, subcategory and brand."""
    index: Literal["auto", "exact", "ivf", "hnsw"] = "auto"
    """The FAISS index: exact search, inverted lists (ivf) or a graph (hnsw); auto = exact up to 20,000 items, ivf above."""
    embedding_size: int = Field(32, ge=1)
    """Dimensions of an embedding."""
    train: float = Field(8.0, ge=0)
    """The towers learn from users' first events with an item within this many horizons."""
    pairs: int = Field(60_000, ge=1)
    """The most purchases to learn from; of more, a random sample."""
    epochs: int = Field(2, ge=1)
    """Passes over the purchases."""
    learning_rate: float = Field(0.005, gt=0)
    """The learning rate of Adam."""
    batch: int = Field(1024, ge=1)
    """Purchases of a step; the other items of a batch are the negatives."""
    seed: int = Field(1, ge=0)
    """Seed of the first weights, the sample and the order of the purchases."""

    def fit(self, query: Query, events: pa.Table, end: datetime) -> TwoTowerModel:
        """The towers and the index of the item vectors."""
        from stages.recall.two_tower import fit

        return fit(self, query, events, end)

    def load(self, folder: Path) -> TwoTowerModel:
        """What the model's ``save`` wrote."""
        from stages.recall.two_tower import load

        return load(folder)
