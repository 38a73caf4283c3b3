"""Rank: a calibrated probability for each of the user's last candidates, from a deep interest network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from narrows.stage import Narrowed, NarrowingStage, Past, Recent, Shard, Table

if TYPE_CHECKING:
    from stages.rank.model import RankModel


@dataclass(frozen=True, kw_only=True)
class Rank(NarrowingStage):
    """The candidates that the networks and prerank together put first.

    Adds rank_score f32, the probability that the user takes the item within the horizon, and rank_rank i32.
    """

    name: ClassVar[str] = "rank"
    users: ClassVar[str] = "user_profiles"
    items: ClassVar[str] = "item_profiles"
    past: ClassVar[dict[str, str | int]] = {"examples": "windows", "user_profiles": "windows"}

    n: int = 60
    """The most candidates of a user."""
    model: str = "din"
    """din (deep interest network) or wide_deep."""
    members: int = 1
    """Networks with other first weights whose logits are averaged."""
    length: int = 50
    """Latest events of a user that the network reads."""
    width: int = 8
    """Dimensions of an embedding."""
    hidden: int = 128
    """Width of the first dense layer; the second has half."""
    units: int = 8
    """Width of the attention's hidden layer."""
    dropout: float = 0.3
    """Share of a dense layer's outputs put to 0 in training."""
    min_count: int = 300
    """Rarer item ids have no embedding of their own, only those of category, subcategory and brand."""
    epochs: int = 3
    """Passes over the examples."""
    batch: int = 64
    """Users of a step."""
    learning_rate: float = 0.002
    """Highest rate of AdamW; falls to 0 along a cosine."""
    weight_decay: float = 0.01
    """Of AdamW."""
    listwise: float = 1.0
    """Weight of the loss for the order beside the one for the probability."""
    held_share: float = 0.25
    """Share of the users whose latest windows only the stack and the calibration learn from."""
    held_windows: int = 2
    """How many of the latest windows these are."""
    held_depth: int = 100
    """Candidates with a larger prerank_rank are not for the stack."""
    refit: str = "1d"
    """How often the model is fitted again; between, its last model narrows. A duration such as 1d or 6h."""
    seed: int = 1
    """Of the first weights, the order of the users, and dropout."""

    def __post_init__(self) -> None:
        if self.model not in ("din", "wide_deep"):
            raise ValueError(f"model = {self.model!r}: give din or wide_deep.")
        for name in ("n", "members", "length", "width", "hidden", "units", "epochs", "batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)}: give 1 or more.")

    def fit(self, examples: Recent, user_profiles: Past, item_profiles: Table) -> RankModel:
        """Networks, encoder and stack."""
        from stages.rank.model import fit

        profiles = {
            asof: table.arrow(["user_id", "sequence_item", "sequence_days"]) for asof, table in user_profiles.items()
        }
        return fit(self, examples.arrow(), profiles, item_profiles.arrow())

    def load(self, folder: Path) -> RankModel:
        """What the model's ``save`` wrote."""
        from stages.rank.model import load

        return load(self, folder)

    def narrow(self, model: RankModel, shard: Shard) -> Narrowed:
        """At most ``n`` candidates of each user; removed: ``rank_cut``."""
        from stages.rank.model import narrow

        return narrow(self, model, shard)
