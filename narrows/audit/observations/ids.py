"""Ids of a draft in other tables, and of other tables in the draft."""

from __future__ import annotations

from typing import Any

from narrows.asof import DAY
from narrows.audit.observations.periods import REFERENCE, by_period, new_periods, slots
from narrows.audit.observations.subject import Measured, Subject

SHOWN = 3
FEWEST = 20
"""Ids below which a share of them says little."""


def unknown(subject: Subject, column: str, table: str) -> Measured:
    """How many ids of a column another table, which the room read, does not have in its column of that name."""
    import pyarrow.compute as pc

    other = subject.table(table)
    if other is None:
        return Measured()
    subject.columns(column)
    found, known = subject.distinct(column), subject.distinct(column, other)
    strange = found.filter(pc.invert(pc.is_in(found, value_set=known)))
    some = ", ".join(map(str, strange[:SHOWN].to_pylist()))
    said = f"{len(strange):,} of {len(found):,} values of {column} are not in {table}" + (some and f": {some}")
    return Measured([(said, float(len(strange)))])


def coverage(subject: Subject, column: str, table: str, when: str = "") -> Measured:
    """The share of another table's ids that the draft has; with ``when``, a column of it, of some of them.

    Where that is of days, of those active in the last horizon; where it is of instants, of those from before the as-of's end, or without one.
    """
    import pyarrow.compute as pc

    other = subject.table(table)
    if other is None:
        return Measured()
    subject.columns(column)
    some, who = _some(subject, other, when) if when else (None, "")
    wanted = subject.distinct(column, other, some)
    if not len(wanted):
        return Measured()
    there = pc.sum(pc.is_in(wanted, value_set=subject.distinct(column))).as_py()
    said = f"{there:,} of {len(wanted):,} ids of {table}{who} are there"
    return Measured([(said, there / len(wanted))], there / len(wanted))


def _some(subject: Subject, other: Any, when: str) -> tuple[Any, str]:
    """Which rows of another table a column of it means, as a dataset filter, and in words."""
    import pyarrow as pa
    import pyarrow.dataset as ds

    schema, around = other.dataset().schema, subject.around
    if when not in schema.names:
        raise LookupError(f"{other.name} has no column {when!r}")
    if pa.types.is_timestamp(kind := schema.field(when).type):
        return ds.field(when).is_null() | (ds.field(when) < pa.scalar(around.asof.end, kind)), f" until {around.asof}"
    return ds.field(when) <= around.horizon / DAY, " active in the last horizon"


def returning(subject: Subject, column: str, period: str) -> Measured:
    """The share of the ids of new periods that periods of the same weekdays or hours before have too."""
    import pyarrow.compute as pc

    files = by_period(subject, period)
    new = [each for each in new_periods(subject, files) if each in files]
    before = dict.fromkeys(slot for each in new for slot in slots(files, each, REFERENCE) if slot not in new)
    now, known = _ids(subject, column, files, new), _ids(subject, column, files, before)
    if len(now) < FEWEST or len(known) < FEWEST:
        return Measured()
    share = pc.sum(pc.is_in(now, value_set=known)).as_py() / len(now)
    return Measured([(f"{share:.0%} of {len(now):,} values of {column} are known from such periods", share)], share)


def growth(subject: Subject) -> Measured:
    """The number of rows over that of the partition before."""
    earlier = subject.earlier("growth()")
    if not earlier or not earlier[max(earlier)]["rows"]:
        return Measured([], {"rows": subject.rows})
    before = earlier[max(earlier)]["rows"]
    said = f"{subject.rows:,} rows after {before:,} as of {max(earlier)}"
    return Measured([(said, subject.rows / before)], {"rows": subject.rows})


def _ids(subject: Subject, column: str, files: Any, asofs: Any) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    subject.columns(column)
    parts = [pc.unique(file.to_table(columns=[column])[column]) for asof in asofs for file in files.get(asof, ())]
    return pc.unique(pa.chunked_array(parts, subject.data.schema.field(column).type)).drop_null()
