"""Prerank: some hundreds of candidates to some dozens, at a few microseconds each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from narrows.stage import Narrowed, NarrowingStage, Recent, Shard, room

if TYPE_CHECKING:
    from narrows.settings import Settings
    from stages.prerank.trees import PrerankModel


@room
class Prerank(NarrowingStage):
    """The candidates that gradient-boosted trees over the pair features put first: few trees and features for all of
    them, many for those that may be shown.

    Adds prerank_score f32 (comparable within a user only) and prerank_rank i32; the log has the trees' own score, shadow_score f32.
    """

    name: ClassVar[str] = "prerank"
    users: ClassVar[str] = "user_profiles"
    items: ClassVar[str] = "item_profiles"
    past: ClassVar[dict[str, str | int]] = {"examples": "windows"}
    renamed: ClassVar[dict[str, str]] = {
        "windows": "windows = {} in [pipeline]",
        "members": "ensemble_size = {}",
        "chance_trees": "pointwise_trees = {}",
        "order_trees": "lambdarank_trees = {}",
        "good_per_tree": "positives_per_tree = {}",
        "chance_leaves": "pointwise_leaves = {}",
        "order_leaves": "lambdarank_leaves = {}",
    }
    """Former keys, and how they are written now."""

    n: int = Field(100, ge=1)
    """The most candidates of a user."""
    refit: str = "1d"
    """How often the model is fitted again: between, its last model narrows. A duration such as 1d or 6h."""
    ensemble_size: int = Field(2, ge=1)
    """Models whose scores are averaged; they differ in their samples of rows and features."""
    pointwise_trees: int = Field(100, ge=1)
    """Trees of a model that learn the probability of each candidate (log loss)."""
    lambdarank_trees: int = Field(100, ge=1)
    """Trees on top of those that learn the order of a user's list (lambdarank)."""
    positives_per_tree: int = Field(250, ge=1)
    """Positive examples that each tree of a kind needs: where there are few, a model has fewer trees, but 10 at least."""
    first_trees: int = Field(20, ge=1)
    """Trees of the first model, which scores every candidate."""
    first_features: int = Field(12, ge=1)
    """Features that the first model reads: those that the ensemble gains most from."""
    first_learning_rate: float = Field(0.2, gt=0)
    """Shrinkage of a tree of the first model."""
    first_n: int = Field(60, ge=1)
    """A user's best by the first model, which the ensemble then orders."""
    pointwise_leaves: int = Field(31, ge=2)
    """Leaves of a tree that learns the probability."""
    lambdarank_leaves: int = Field(15, ge=2)
    """Leaves of a tree that learns the order."""
    learning_rate: float = Field(0.07, gt=0)
    """Shrinkage of a tree."""
    min_rows: int = Field(300, ge=0)
    """Least rows of a leaf."""
    feature_share: float = Field(0.4, gt=0, le=1)
    """Share of the features that a tree may use."""
    row_share: float = Field(0.8, gt=0, le=1)
    """Share of the rows that a tree learns from."""
    l2: float = Field(5.0, ge=0)
    """L2 regularization of the leaves' values."""
    stand_back: bool = True
    """Whether a simple order (popularity, own items) takes the trees' place where they were not better on the latest complete horizons, by
    more than chance: by NDCG@20 it orders, and by the share of positives among the ``n`` it says what is kept."""
    threads: int = Field(0, ge=0)
    """Threads; 0 = as many as the process may use."""
    seed: int = Field(1, ge=0)
    """Of the samples of rows and features."""

    def fit(self, examples: Recent, *, settings: Settings) -> PrerankModel:
        """Trees that order the list of each user and window of the examples."""
        from narrows.sampling import bounded
        from stages.prerank.learn import fit

        return fit(self, bounded(examples, settings.pipeline_settings.example_rows))

    def load(self, folder: Path) -> PrerankModel:
        """What the model's ``save`` wrote."""
        from stages.prerank.trees import PrerankModel

        return PrerankModel.load(folder)

    def narrow(self, model: PrerankModel, shard: Shard) -> Narrowed:
        """At most ``n`` candidates of each user; removed: ``prerank_cut``."""
        from stages.prerank.trees import narrow

        return narrow(self, model, shard)
