"""Whether scores tell anything apart."""

from __future__ import annotations

from narrows.audit.observations.subject import Measured, Subject

ENOUGH = 1000
"""Distinct values up to which they are counted."""
FEWEST = 20
"""Rows below which equal values are nothing to wonder at."""


def distinct(subject: Subject, column: str) -> Measured:
    """How many distinct values a column has, counted up to a thousand; silent of fewer than twenty rows."""
    import pyarrow as pa
    import pyarrow.compute as pc

    subject.columns(column)
    found = pa.array([], subject.data.schema.field(column).type)
    if subject.rows < FEWEST:
        return Measured()
    for batch in subject.batches([column]):
        found = pc.unique(pa.chunked_array([found, pc.unique(batch[column])])).drop_null()
        if len(found) > ENOUGH:
            break
    more = "more than " if len(found) > ENOUGH else ""
    number = min(len(found), ENOUGH)
    return Measured([(f"{column} has {more}{number:,} values in {subject.rows:,} rows", float(number))])
