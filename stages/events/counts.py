"""What there was in the source, counted: of the rows that are read, and of those that an earlier partition has counted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from narrows.kinds import POSITIVE
from narrows.settings import SourceSettings
from narrows.source.errors import SourceError
from narrows.stage import Asof, Table
from stages.events.rows import DUPLICATE, KEPT_OUT, NO_KIND, NOT_KNOWN_YET, require_kinds

if TYPE_CHECKING:
    from stages.events import Events


def as_known(seen: Iterable[Any], asof: Asof, near: Asof) -> list[dict[str, Any]]:
    """Counts by reason, as an as-of knows the rows, of counts by reason and ``at``, the period by which they were known.

    A count has ``rows``; the periods ``first`` and ``last``; rows that are ``late``, of each kind and ``anonymous``; ``files``
    of rows that are known after the first as-of of the job; ``periods`` of the earlier partition. Added is the period ``until``,
    the last one up to ``near``. Rows that are known later have no other reason than that, if nothing else is wrong with them.
    """
    found: dict[str | None, dict[str, Any]] = {}
    for row in (row.asDict() for row in seen):
        reason, at = row.pop("reason"), row.pop("at")
        if at is not None and at > asof.period and (reason in (None, DUPLICATE) or reason.startswith(NO_KIND)):
            reason = NOT_KNOWN_YET
        row |= {"until": at if at is not None and at <= near.period else None}
        had = found.setdefault(reason, row)
        if had is not row:
            found[reason] = {name: _together(name, had[name], row[name]) for name in row}
    return [{"reason": reason, **row} for reason, row in found.items()]


def _together(name: str, one: Any, other: Any) -> Any:
    """The count of the rows of two counts."""
    if name in ("files", "periods"):
        return [*one, *other]
    if name not in ("first", "last", "until"):
        return one + other
    given = [each for each in (one, other) if each is not None]
    return (min if name == "first" else max)(given, default=None)


@dataclass(frozen=True)
class Counts:
    """Rows by what they are, up to an as-of."""

    reasons: dict[str, int]
    """Rows of the quarantine by reason."""
    good: int
    after: int
    """Rows that are not known yet."""
    kept_out: int
    late: int
    """Good rows that became known in a later period than the one in which they happened."""
    anonymous: int
    by_kind: dict[str, int]
    first: int | None
    """The first and the last period by which an event was known; None where there is none."""
    last: int | None
    follows: bool
    """Whether rows that are not known yet are near."""
    until: int | None
    """The last near period by which such a row is known."""
    open: frozenset[str]
    """The files with rows that are not known yet."""
    periods_again: frozenset[int]
    """Periods of the earlier partition of which there are more rows."""

    @classmethod
    def of(cls, seen: Iterable[Any], kinds: list[str], near: Asof, earlier: Table | None) -> Counts:
        """From counts by reason (see `as_known`), and the notes of an earlier partition, which had other rows."""
        by_reason = {row["reason"]: row for row in seen}
        good, later = by_reason.pop(None, None), by_reason.pop(NOT_KNOWN_YET, None)
        out = by_reason.pop(KEPT_OUT, None)
        notes = earlier.notes if earlier else {}
        reasons = dict(notes.get("quarantine", {}))
        for reason, row in by_reason.items():
            reasons[reason] = reasons.get(reason, 0) + row["rows"]
        had = {name: Asof.parse(notes[name], near.grain).period for name in ("begins", "ends")} if earlier else {}
        first = min((p for p in (had.get("begins"), good and good["first"]) if p is not None), default=None)
        last = max((p for p in (had.get("ends"), good and good["last"]) if p is not None), default=None)
        return cls(
            dict(sorted(reasons.items())),
            notes.get("events", 0) + (good["rows"] if good else 0),
            later["rows"] if later else 0,
            notes.get("kept_out", 0) + (out["rows"] if out else 0),
            notes.get("late", 0) + (good["late"] if good else 0),
            notes.get("anonymous", 0) + (good["anonymous"] if good else 0),
            {kind: notes.get("kinds", {}).get(kind, 0) + (good[kind] if good else 0) for kind in kinds},
            first,
            last,
            later is not None and later["until"] is not None,
            later["until"] if later else None,
            frozenset(later["files"] if later else ()),
            frozenset(good["periods"] if good and earlier else ()),
        )

    @property
    def bad(self) -> int:
        return sum(self.reasons.values()) - self.reasons.get(DUPLICATE, 0)

    def until_asof(self, asof: Asof) -> Asof:
        """The last near period of which there are rows."""
        return Asof.of_period((self.last or 0) if self.until is None else self.until, asof.grain)

    def require_usable(self, source: SourceSettings, room: Events, asof: Asof) -> None:
        """Refuse what no partition can be made of.

        Raises:
            SourceError: an event type of no kind, no event, no positive, or too many broken rows.
        """
        require_kinds(self.reasons)
        if self.good == 0:
            left_out = f", {self.kept_out} kept out by where" if self.kept_out else ""
            raise SourceError(
                f"[source] no usable event up to {asof} ({self.bad} broken rows, {self.after} later ones{left_out}). Choose "
                "another as-of, or check event_columns and time_format."
            )
        if not self.by_kind[POSITIVE]:
            raise SourceError(
                f"[source.kinds] no positive up to {asof}: of the event types {', '.join(source.kinds.positive)} there is no "
                "row. Name in positive what the file has, or choose a later as-of."
            )
        read = (
            self.good + sum(self.reasons.values()) + self.after
        )  # of the whole source, as `bad` is: the same at every as-of
        if self.bad > room.max_bad_share * read:
            broken = ", ".join(f"{reason}: {count}" for reason, count in self.reasons.items())
            raise SourceError(
                f"[source] {self.bad} of {read} rows are broken ({broken}), more than max_bad_share = {room.max_bad_share}. "
                "Nothing was published. Mend the source, or raise [events] max_bad_share."
            )

    def notes(self, source: SourceSettings, asof: Asof) -> dict[str, Any]:
        """What the manifest says of the rows."""
        assert self.first is not None
        assert self.last is not None
        ends = str(Asof.of_period(self.last, asof.grain))
        notes = {
            "quarantine": self.reasons, "events": self.good, "late": self.late,
            "begins": str(Asof.of_period(self.first, asof.grain)), "ends": ends,
            "rows_after_asof": self.after, "goes_on": self.follows,
            "until": str(self.until_asof(asof)),
            "received": self.good + sum(self.reasons.values()) + self.after + self.kept_out, "kinds": self.by_kind,
        }  # fmt: skip
        if source.where:
            notes["kept_out"] = self.kept_out
        if source.anonymous:
            notes["anonymous"] = self.anonymous
        return notes
