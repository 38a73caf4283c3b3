"""Source rows to clean, typed, deduplicated events, items and users; rows that break the contract go to quarantine."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, ClassVar

from narrows.stage import Made, Table, TableStage

if TYPE_CHECKING:
    from narrows.source.files import Source


@dataclass(frozen=True, kw_only=True)
class Events(TableStage):
    """Typed, deduplicated events that had happened and arrived by the as-of, partitioned by day.

    Rows that break the contract are kept in the quarantine with the reason and the original row. Beside the events lie
    the source's tables of items and users, one row per id.
    """

    name: ClassVar[str] = "events"

    max_bad_share: float = 0.01
    """More than this share of broken rows stops the run before anything is published (duplicates do not count)."""
    max_clock_skew_hours: float = 24.0
    """An event dated later than this after its own arrival is from the future, and broken."""

    def __post_init__(self) -> None:
        if not 0 <= self.max_bad_share <= 1:
            raise ValueError(f"max_bad_share = {self.max_bad_share}: give a share from 0 to 1.")

    def transform(self, *, session: Any, source: Source, asof: date, earlier: Table | None = None) -> Made:
        """The rows as of a day; those of the days that ``earlier``, a partition of the same source, has are its files."""
        from stages.events.clean import clean
        from stages.events.side_tables import with_side_tables

        made = clean(source.events(session), source.settings, self, asof, earlier)
        return with_side_tables(made, source, session)
