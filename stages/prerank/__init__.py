"""Prerank: some hundreds of candidates to some dozens, at a few microseconds each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from narrows.stage import Narrowed, NarrowingStage, Recent, Shard

if TYPE_CHECKING:
    from stages.prerank.trees import PrerankModel


@dataclass(frozen=True, kw_only=True)
class Prerank(NarrowingStage):
    """The candidates that gradient-boosted trees over the pair features put first: few trees and features for all of
    them, many for those that may be shown.

    Adds prerank_score f32 (comparable within a user only) and prerank_rank i32.
    """

    name: ClassVar[str] = "prerank"
    users: ClassVar[str] = "user_profiles"
    items: ClassVar[str] = "item_profiles"
    past: ClassVar[dict[str, str | int]] = {"examples": "windows"}

    n: int = 100
    """The most candidates of a user."""
    members: int = 2
    """Models whose scores are averaged; they differ in their samples of rows and features."""
    chance_trees: int = 100
    """Trees of a member that learn the probability."""
    order_trees: int = 100
    """Trees on top of those that learn the order of a user's list (lambdarank)."""
    good_per_tree: int = 250
    """Good examples that each tree of a kind needs: where there are few, a member has fewer trees, but 10 at least."""
    first_trees: int = 20
    """Trees of the first model, which scores every candidate."""
    first_features: int = 12
    """Features that the first model reads: those that the members gain most from."""
    first_learning_rate: float = 0.2
    """Shrinkage of a tree of the first model."""
    first_n: int = 60
    """A user's best by the first model, which the members then order."""
    chance_leaves: int = 31
    """Leaves of a tree that learns the probability."""
    order_leaves: int = 15
    """Leaves of a tree that learns the order."""
    learning_rate: float = 0.07
    """Shrinkage of a tree."""
    min_rows: int = 300
    """Least rows of a leaf."""
    feature_share: float = 0.4
    """Share of the features that a tree may use."""
    row_share: float = 0.8
    """Share of the rows that a tree learns from."""
    l2: float = 5.0
    """Ridge on the leaves' values."""
    threads: int = 0
    """Threads; 0 = as many as the process may use."""
    refit: str = "1d"
    """How often the model is fitted again; between, its last model narrows. A duration such as 1d or 6h."""
    seed: int = 1
    """Of the samples of rows and features."""

    def __post_init__(self) -> None:
        counts = ("n", "members", "chance_trees", "order_trees", "good_per_tree", "first_trees")
        for name in (*counts, "first_features", "first_n"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)}: give 1 or more.")
        for name in ("chance_leaves", "order_leaves"):
            if getattr(self, name) < 2:
                raise ValueError(f"{name} = {getattr(self, name)}: give 2 or more.")
        for name in ("learning_rate", "first_learning_rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} = {getattr(self, name)}: give a number above 0.")
        for name in ("feature_share", "row_share"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} = {getattr(self, name)}: give a number above 0 and up to 1.")

    def fit(self, examples: Recent) -> PrerankModel:
        """Trees that order each user's week of examples."""
        from stages.prerank.trees import fit

        return fit(self, examples.arrow())

    def load(self, folder: Path) -> PrerankModel:
        """What the model's ``save`` wrote."""
        from stages.prerank.trees import PrerankModel

        return PrerankModel.load(folder)

    def narrow(self, model: PrerankModel, shard: Shard) -> Narrowed:
        """At most ``n`` candidates of each user; removed: ``prerank_cut``."""
        from stages.prerank.trees import narrow

        return narrow(self, model, shard)
