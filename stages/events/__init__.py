"""Source rows to clean, typed, deduplicated events, items and users; rows that break the contract go to quarantine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from narrows.asof import KNOWN
from narrows.stage import Asof, Output, Table, TableStage, room

if TYPE_CHECKING:
    from narrows.source.files import Source


@room
class Events(TableStage):
    """Typed, deduplicated events that had happened and arrived by the as-of, partitioned by when they were known.

    Rows that break the contract are kept in the quarantine with the reason and the original row. Beside the events lie
    the source's tables of items and users, one row per id.
    """

    name: ClassVar[str] = "events"
    partitioned_by: ClassVar[str] = KNOWN
    side_tables: ClassVar[tuple[str, ...]] = ("items", "users")

    max_bad_share: float = Field(0.01, ge=0, le=1)
    """More than this share of broken rows stops the run before anything is published (duplicates do not count)."""
    max_clock_skew_hours: float = Field(24.0, ge=0)
    """An event dated later than this after its own arrival is from the future, and broken."""

    def transform(self, *, session: Any, source: Source, asof: Asof, earlier: Table | None = None) -> Output:
        """The rows known by an as-of; those that ``earlier``, a partition of the same source, has are its files.

        Beside the tables lies the ``listing`` of the source's files: a later partition reads what is not in it.
        """
        return self.transform_several(session=session, source=source, asofs=[asof], earlier=earlier)[asof]

    def transform_several(
        self, *, session: Any, source: Source, asofs: list[Asof], earlier: Table | None = None
    ) -> dict[Asof, Output]:
        """The rows known by the first as-of and by those after it up to the source's last rows, of one reading of the source."""
        from stages.events.clean import clean
        from stages.events.side_tables import with_side_tables

        return with_side_tables(clean(session, source, self, asofs, earlier), source, session)
