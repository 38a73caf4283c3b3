"""Labelled rows with the features as they were at the time of the request."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from narrows.stage import Asof, Past, Table, TableStage, room

if TYPE_CHECKING:
    from narrows.run.runner import Runner
    from narrows.settings import Settings


@room
class Examples(TableStage):
    """What the cascade offered a horizon ago, and what the user then did: labels are the positives of the last horizon.

    Features and candidates are those of the partition a horizon earlier (column ``asof``: the time of the request).
    Positives all stay; negatives are sampled from the rows that each stage removed, by a hash of (user, item,
    as-of), and weigh the inverse of their share. What the source says was shown is there too, also where the cascade did
    not offer it: its ``stage_reached`` is ``exposed``, with ``position`` and ``propensity`` as the source has them.
    """

    name: ClassVar[str] = "examples"
    past: ClassVar[dict[str, str | int]] = {
        "user_profiles": 1, "item_profiles": 1, "recall": 1, "prerank": 1, "rank": 1, "rerank": 1,
    }  # fmt: skip

    scored_windows: int = Field(2, ge=1)
    """First run: of the earlier as-ofs that are learned from, the latest that carry the pre-ranker's scores."""
    turnover: float = Field(0.25, ge=0, le=1)
    """First run: where more of the latest window's demand is for items that the oldest one did not know, recall is fitted as of each
    window, as it would have been; else the oldest window's model narrows at all of them, which is faster."""
    negative_share: float = Field(0.12, gt=0, le=1)
    """Share kept of the negatives that pre-rank removed or never saw."""
    hard_share: float = Field(0.5, gt=0, le=1)
    """Share kept of the negatives that pre-rank kept."""
    exposed_share: float = Field(1.0, gt=0, le=1)
    """Share kept of the negatives that were shown (events of the kind exposure) and not taken."""

    def check(self, settings: Settings) -> None:
        """The pre-ranker that scores the latest windows learns from at least one older one."""
        windows = settings.pipeline_settings.windows
        if windows <= self.scored_windows:
            raise ValueError(
                f"scored_windows = {self.scored_windows}, [pipeline] windows = {windows}: give fewer scored_windows, or "
                f"windows {self.scored_windows + 1} or more."
            )

    def transform(
        self, events: Table, user_profiles: Past, item_profiles: Past, recall: Past, prerank: Past, rank: Past,
        rerank: Past, *, session: Any, horizon: timedelta, settings: Settings, asofs: list[Asof],
    ) -> Any:  # fmt: skip
        """Rows of one or several partitions; which stages' flow there is depends on what earlier runs published."""
        from narrows.run import plugins
        from stages.examples import here

        profiles = {day: (user_profiles[day], item_profiles[day]) for day in recall}
        flows = {day: (recall[day], prerank.get(day), rank.get(day), rerank.get(day)) for day in recall}
        given = (events, profiles, flows, self, horizon, plugins.modules(settings), str(settings.base))
        if here.fits(events, flows):
            return here.Assembled(*given)
        from stages.examples.assemble import assemble

        return assemble(session, *given)

    def first_run(self, runner: Runner, asof: Asof) -> None:
        """Make the windows that the run learns from and that no earlier run published."""
        from stages.examples.first_run import make_windows

        make_windows(runner, asof, self.scored_windows, self.turnover)
