"""Evaluation: what the published list was worth, per stage and end to end, and which stage lost what."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import ClassVar

from narrows.stage import Made, Table, TableStage, Truth


@dataclass(frozen=True, kw_only=True)
class Evaluation(TableStage):
    """One row per number: population, kind, list, metric, k, detail, value, low, high, users.

    The population of quality is the users with a positive in the horizon; who has no list counts as zero.
    The headline (kind ``published``) is computed from the rows of the recommendations table alone. Beside the
    numbers lie ``outcomes`` (every positive: the stage it reached, why it went no further, its position) and
    ``ledger``.
    """

    name: ClassVar[str] = "evaluation"

    cutoffs: tuple[int, ...] = (5, 10, 20)
    """The k of the metrics; the largest is the length of the lists that are compared."""
    resamples: int = 1000
    """Bootstrap resamples of the users."""
    confidence: float = 0.95
    """Share of the resamples inside an interval."""
    seed: int = 0
    """Of the resamples."""
    calibration_bins: int = 15
    """Bins of equal mass for the expected calibration error."""
    scene: str = "home"
    """The surface of the product whose lists are judged."""

    def __post_init__(self) -> None:
        if not self.cutoffs or min(self.cutoffs) < 1:
            raise ValueError(f"cutoffs = {list(self.cutoffs)}: give numbers of 1 or more.")
        for name in ("resamples", "calibration_bins"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)}: give 1 or more.")
        if not 0 < self.confidence < 1:
            raise ValueError(f"confidence = {self.confidence}: give a share between 0 and 1.")

    def transform(
        self,
        recommendations: Table,
        rerank: Table,
        rank: Table,
        prerank: Table,
        recall: Table,
        user_profiles: Table,
        item_profiles: Table,
        truth: Truth,
        asof: date,
        horizon: timedelta,
    ) -> Made:
        """Judge the lists of ``asof`` on the events of the ``horizon`` after it."""
        from stages.evaluation import read
        from stages.evaluation.assess import assess

        rooms = {"recall": recall, "prerank": prerank, "rank": rank, "rerank": rerank}
        run = read.run(self, recommendations, rooms, user_profiles, item_profiles, truth, asof + horizon)
        return assess(run, self.calibration_bins)
