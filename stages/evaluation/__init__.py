"""Evaluation: what the published list was worth, per stage and end to end, and which stage lost what."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, ClassVar

from pydantic import Field

from narrows.stage import Asof, Flow, Output, Recent, Table, TableStage, Truth, room


@room
class Evaluation(TableStage):
    """One row per number: population, kind, list, metric, k, detail, value, low, high, users.

    The population of quality is the users with a positive in the horizon; who has no list counts as zero.
    The headline (kind ``published``) is computed from the rows of the recommendations table alone. Beside the
    numbers lie ``outcomes`` (every positive: the stage it reached, why it went no further, its position) and
    ``ledger``.
    """

    name: ClassVar[str] = "evaluation"
    past: ClassVar[dict[str, str | int]] = {"item_profiles": 2}

    cutoffs: tuple[Annotated[int, Field(ge=1)], ...] = Field((5, 10, 20), min_length=1)
    """The k of the metrics; the largest is the length of the lists that are compared."""
    resamples: int = Field(1000, ge=1)
    """Bootstrap resamples of the users."""
    confidence: float = Field(0.95, gt=0, lt=1)
    """Share of the resamples inside an interval."""
    seed: int = Field(0, ge=0)
    """Of the resamples."""
    calibration_bins: int = Field(15, ge=1)
    """Bins of equal mass for the expected calibration error."""
    scene: str = "home"
    """The surface of the product whose lists are judged."""

    def transform(
        self,
        recommendations: Table,
        flow: Flow,
        user_profiles: Table,
        item_profiles: Recent,
        events: Truth,
        asof: Asof,
        horizon: timedelta,
    ) -> Output:
        """Judge the lists of ``asof`` on the events of the ``horizon`` after it."""
        from stages.evaluation import read
        from stages.evaluation.assess import assess

        run = read.run(self, recommendations, flow, user_profiles, item_profiles, events, asof + horizon)
        return assess(run, self.calibration_bins)
