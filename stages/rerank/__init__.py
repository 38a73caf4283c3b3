"""Re-rank: compose each user's list out of the ranked candidates: diversity, rules, exploration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from narrows.stage import Narrowed, NarrowingStage, Shard, room
from stages.rerank.policy import Policy

if TYPE_CHECKING:
    from narrows.settings import Settings


@room
class Rerank(NarrowingStage):
    """The final list of each user, every place with its propensity and its reason.

    Reads rank_score, rank_rank and recall_reason. Adds rank int32 (1 = top; null = not in the list),
    score f64 (calibrated probability, as rank gave it), propensity f64 (probability of being in the list; a
    user's sum to the list's length), rerank_score f64 (score after boosts), reason, and what each step alone
    makes of rank's order: rank_after_diversity, rank_after_policy, rank_after_exploration int32.
    A pinned item that no stage proposed is a row more: reason ``pinned``, score 0 (nothing scored it), propensity 1,
    null in the columns of the rooms before.
    """

    name: ClassVar[str] = "rerank"
    users: ClassVar[str] = "user_profiles"
    items: ClassVar[str] = "item_profiles"

    n: int = Field(20, ge=1)
    """Length of the list."""
    policy: str = "policy.toml"
    """The rules; relative to the folder of ``narrows.toml``. Empty = no rules."""
    diversity: float = Field(0.005, ge=0, le=1)
    """1 - lambda of maximal marginal relevance (Carbonell & Goldstein 1998); 0 = the order of rank alone."""
    category_weight: float = Field(0.5, ge=0)
    """Share of the similarity of two items that a common category makes."""
    subcategory_weight: float = Field(0.3, ge=0)
    """The same for a common subcategory."""
    brand_weight: float = Field(0.2, ge=0)
    """The same for a common brand."""
    epsilon: float = Field(0.05, ge=0, le=1)
    """Share of lists whose exploration slot is drawn; 0 = no exploration."""
    explore_position: int = Field(0, ge=0)
    """The exploration slot, 1 = top; 0 = the last position."""
    explore_pool: int = Field(40, ge=0)
    """How many candidates below the list may be drawn."""
    explore_temperature: float = Field(1.0, gt=0)
    """1 = drawn in proportion to their scores; large = nearly uniformly; small = nearly always the best."""
    scene: str = "home"
    """The surface of the product that the list is for: its pins hold."""
    seed: int = Field(1, ge=0)
    """Of the exploration draws; a user's draw depends on (seed, as-of, user) alone."""

    def __post_init__(self) -> None:
        if self.explore_position > self.n:
            raise ValueError(f"explore_position = {self.explore_position}: give a position of the list, or 0.")

    def check(self, settings: Settings) -> None:
        """Read the rules, so that a mistake in them ends the command at once.

        Raises:
            PolicyError: see `fit`.
        """
        self.fit(settings)

    def files(self, base: Path) -> list[Path]:
        """The rules; ``fit`` says so where the file is missing."""
        return [base / self.policy] if self.policy and (base / self.policy).is_file() else []

    def fit(self, settings: Settings) -> Policy:
        """The rules of ``policy.toml``, versioned like a model; no rules where the default file is not there.

        Raises:
            PolicyError: a file that was named is missing, or its content is wrong.
        """
        path = settings.base / self.policy
        unnamed = self.policy in ("", type(self).policy) and not path.is_file()
        return Policy() if unnamed else Policy.read(path)

    def load(self, folder: Path) -> Policy:
        """The policy that ``fit`` made and ``save`` wrote."""
        return Policy.load(folder)

    def narrow(self, model: Policy | None, shard: Shard) -> Narrowed:
        """Keep each user's list; removed candidates say why they are not in it."""
        from stages.rerank.compose import ListRules
        from stages.rerank.lists import narrow

        rules = ListRules(
            n=self.n,
            trade=1 - self.diversity,
            epsilon=self.epsilon,
            pool=self.explore_pool,
            temperature=self.explore_temperature,
            position=(self.explore_position or self.n) - 1,
        )
        weights = {
            "category": self.category_weight,
            "subcategory": self.subcategory_weight,
            "brand": self.brand_weight,
        }
        return narrow(shard, model or Policy(), rules, weights, self.scene, self.seed)
