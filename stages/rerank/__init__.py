"""Re-rank: compose each user's list out of the ranked candidates: diversity, rules, exploration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from narrows.stage import Narrowed, NarrowingStage, Shard
from stages.rerank.policy import Policy

if TYPE_CHECKING:
    from narrows.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Rerank(NarrowingStage):
    """The final list of each user, every place with its propensity and its reason.

    Reads rank_score, rank_rank and the channels' ranks. Adds rank int32 (1 = top; null = not in the list),
    score f64 (calibrated probability, as rank gave it), propensity f64 (probability of being in the list; a
    user's sum to the list's length), rerank_score f64 (score after boosts), reason, and what each step alone
    makes of rank's order: rank_after_diversity, rank_after_policy, rank_after_exploration int32.
    A pinned item that no stage proposed is a row more: reason ``pinned``, score 0 (nothing scored it), propensity 1,
    null in the columns of the rooms before.
    """

    name: ClassVar[str] = "rerank"

    n: int = 20
    """Length of the list."""
    policy: str = "policy.toml"
    """The rules; relative to the folder of ``narrows.toml``. Empty = no rules."""
    diversity: float = 0.005
    """1 - lambda of maximal marginal relevance (Carbonell & Goldstein 1998); 0 = the order of rank alone."""
    category_weight: float = 0.5
    """Share of the similarity of two items that a common category makes."""
    subcategory_weight: float = 0.3
    """The same for a common subcategory."""
    brand_weight: float = 0.2
    """The same for a common brand."""
    epsilon: float = 0.05
    """Share of lists whose exploration slot is drawn; 0 = no exploration."""
    explore_position: int = 0
    """The exploration slot, 1 = top; 0 = the last position."""
    explore_pool: int = 40
    """How many candidates below the list may be drawn."""
    explore_temperature: float = 1.0
    """1 = drawn in proportion to their scores; large = nearly uniformly; small = nearly always the best."""
    scene: str = "home"
    """The surface of the product that the list is for: its pins hold."""
    seed: int = 1
    """Of the exploration draws; a user's draw depends on (seed, as-of, user) alone."""

    def __post_init__(self) -> None:
        checks = {
            "n": (self.n >= 1, "give 1 or more"),
            "diversity": (0 <= self.diversity <= 1, "give a number from 0 to 1"),
            "epsilon": (0 <= self.epsilon <= 1, "give a number from 0 to 1"),
            "explore_position": (0 <= self.explore_position <= self.n, "give a position of the list, or 0"),
            "explore_pool": (self.explore_pool >= 0, "give 0 or more"),
            "explore_temperature": (self.explore_temperature > 0, "give a number above 0"),
        }
        for weight in ("category_weight", "subcategory_weight", "brand_weight"):
            checks[weight] = (getattr(self, weight) >= 0, "give 0 or more")
        for key, (sound, remedy) in checks.items():
            if not sound:
                raise ValueError(f"{key} = {getattr(self, key)!r}: {remedy}.")

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
