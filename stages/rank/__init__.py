"""Rank: a calibrated probability for each of the user's last candidates, from a deep interest network."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from narrows.stage import Narrowed, NarrowingStage, Past, Recent, Shard, Table, room
from stages.rank.rankers import check_registered

if TYPE_CHECKING:
    from narrows.settings import Settings
    from stages.rank.model import RankModel


@room
class Rank(NarrowingStage):
    """The candidates that the networks and prerank together put first.

    Adds rank_score f32, the probability that the user takes the item within the horizon, and rank_rank i32.
    """

    name: ClassVar[str] = "rank"
    users: ClassVar[str] = "user_profiles"
    items: ClassVar[str] = "item_profiles"
    past: ClassVar[dict[str, str | int]] = {"examples": "windows", "user_profiles": "windows"}
    renamed: ClassVar[dict[str, str]] = {
        "windows": "windows = {} in [pipeline]",
        "members": "ensemble_size = {}",
        "width": "embedding_size = {}",
    }
    """Former keys, and how they are written now."""

    n: int = Field(60, ge=1)
    """The most candidates of a user."""
    refit: str = "1d"
    """How often the model is fitted again: between, its last model narrows. A duration such as 1d or 6h."""
    model: str = "din"
    """The ranker: din (deep interest network), wide_deep, or one that a module of [pipeline] imports registers."""
    ensemble_size: int = Field(1, ge=1)
    """Networks with other first weights whose logits are averaged."""
    length: int = Field(50, ge=1)
    """Latest events of a user that the network reads."""
    embedding_size: int = Field(8, ge=1)
    """Dimensions of an embedding."""
    hidden: int = Field(128, ge=2)
    """Units of the first dense layer; the second has half."""
    units: int = Field(8, ge=1)
    """Units of the attention's hidden layer."""
    dropout: float = Field(0.3, ge=0, lt=1)
    """Share of a dense layer's outputs put to 0 in training."""
    min_count: int = Field(300, ge=0)
    """Rarer item ids have no embedding of their own, only those of category, subcategory and brand."""
    epochs: int = Field(3, ge=1)
    """Passes over the examples."""
    batch: int = Field(64, ge=1)
    """Users of a step."""
    learning_rate: float = Field(0.002, ge=0)
    """Highest rate of AdamW; falls to 0 along a cosine."""
    weight_decay: float = Field(0.01, ge=0)
    """Of AdamW."""
    listwise: float = Field(1.0, ge=0)
    """Weight of the listwise loss, for the order, beside the pointwise one, for the probability."""
    held_share: float = Field(1.0, ge=0, le=1)
    """Share of the users whose latest windows only the stack and the calibration learn from."""
    held_windows: int = Field(1, ge=0)
    """How many of the latest windows these are. All users of the latest window, by default: what networks learned of a window's
    items would look like skill on other users of the same window, and be gone by the next."""
    held_depth: int = Field(100, ge=0)
    """Candidates with a larger prerank_rank are not for the stack."""
    seed: int = Field(1, ge=0)
    """Of the first weights, the order of the users, and dropout."""
    processes: int = Field(1, ge=1)
    """Processes that fit the networks together, each on a part of every batch: as many as there are GPUs, or as may be used."""

    def check(self, settings: Settings) -> None:
        """A ranker that neither is built in nor was registered by a module of ``[pipeline] imports`` is refused."""
        check_registered(self.model)

    def fit(
        self, examples: Recent, user_profiles: Past, item_profiles: Table, *, horizon: timedelta, settings: Settings
    ) -> RankModel:
        """Networks, encoder and stack."""
        from narrows.sampling import bounded
        from stages.rank.fit import fitted, prepared
        from stages.rank.windows import sequences_of

        rows = bounded(examples, settings.pipeline_settings.example_rows)
        given = prepared(self, rows, sequences_of(rows, user_profiles))
        del rows  # the windows have all that is learned from them
        return fitted(self, given, item_profiles.arrow(), horizon)

    def load(self, folder: Path) -> RankModel:
        """What the model's ``save`` wrote."""
        from stages.rank.model import load

        return load(self, folder)

    def narrow(self, model: RankModel, shard: Shard) -> Narrowed:
        """At most ``n`` candidates of each user; removed: ``rank_cut``."""
        from stages.rank.model import narrow

        return narrow(self, model, shard)
