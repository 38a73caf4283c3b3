"""The draft that is measured, and what it is compared with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from fnmatch import fnmatchcase
from functools import cached_property
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from narrows.asof import DAY, Asof

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.dataset as ds

    from narrows.store.table import Table

WEEK = 7 * DAY
LEAST = 3
"""Earlier values from which what is usual is told; with fewer a comparison says nothing."""
READ_ROWS = 65_536
NORMAL = 1.4826
"""The standard deviation of a normal distribution over its median absolute deviation."""
ROUGH = 0.1
"""What is usual is told no finer than this share of its median."""


class Measured(NamedTuple):
    """What a measure found."""

    values: list[tuple[str, float]] = []
    """What each value is of, in words, and the value; none = there is too little to compare with."""
    kept: Any = None
    """JSON values for the audits of later partitions."""


@dataclass(frozen=True)
class Around:
    """What an audit may look at beside the draft; it is sent to the process that audits."""

    asof: Asof
    horizon: timedelta = DAY
    settings: Mapping[str, Any] = field(default_factory=dict)
    """The room's."""
    tables: Mapping[str, Table] = field(default_factory=dict)
    """What the room read, by name, and the tables that are published with the draft."""
    previous: Table | None = None
    """The partition before, made with the same settings."""
    earlier: Mapping[Asof, Mapping[str, Any]] = field(default_factory=dict)
    """The observations of earlier partitions made with the same settings, oldest first."""


@dataclass
class Subject:
    """A draft under measurement."""

    data: ds.Dataset
    around: Around
    measured: dict[str, Measured] = field(default_factory=dict)
    """What is measured already, by the text of the measure."""
    files: dict[str, dict[Asof, list[Any]]] = field(default_factory=dict)
    """The files of each period, by the column that names the periods; see `periods.by_period`."""

    @cached_property
    def rows(self) -> int:
        return int(self.data.count_rows())

    def earlier(self, measure: str) -> dict[Asof, Any]:
        """What earlier partitions kept of a measure, oldest first."""
        kept = {asof: each[measure] for asof, each in self.around.earlier.items() if measure in each}
        return {asof: kept[asof] for asof in sorted(kept) if asof < self.around.asof}

    def alike(self, earlier: Mapping[Asof, Any]) -> Asof | None:
        """The earlier partition to compare with: of the same weekday and hour, else of the same hour, else the newest."""
        for length in (WEEK, DAY):
            if self.around.asof - length in earlier:
                return self.around.asof - length
        return max(earlier, default=None)

    def columns(self, pattern: str) -> list[str]:
        """The columns of single values that a name or a pattern such as ``*_score`` stands for.

        Raises:
            LookupError: a name that is no column.
        """
        import pyarrow as pa

        schema = self.data.schema
        if not any(sign in pattern for sign in "*?["):
            if pattern not in schema.names:
                raise LookupError(f"there is no column {pattern!r}; there are {', '.join(schema.names)}")
            return [pattern]
        return [
            field.name for field in schema if fnmatchcase(field.name, pattern) and not pa.types.is_nested(field.type)
        ]

    def batches(self, columns: Sequence[str], data: Any = None, where: Any = None) -> Any:
        """The rows of some columns of the draft, or of other data, batch by batch."""
        return (data or self.data).to_batches(
            columns=list(columns), filter=where, batch_size=READ_ROWS, batch_readahead=2, fragment_readahead=1
        )

    def distinct(self, column: str, other: Table | None = None, where: Any = None) -> pa.Array:
        """The distinct values of a column that are not null, of the draft or of another table, optionally of some rows."""
        import pyarrow as pa
        import pyarrow.compute as pc

        found: Any = None
        data = other.dataset() if other else self.data
        for batch in self.batches([column], data, where) if where is not None else self._coded(column, data):
            values = batch[column].dictionary if hasattr(batch[column], "dictionary") else pc.unique(batch[column])
            found = pc.unique(values if found is None else pa.chunked_array([found, values]))
        return pa.array([], self.data.schema.field(column).type) if found is None else found.drop_null()

    def _coded(self, column: str, data: Any) -> Any:
        """A column of files as the dictionaries in which they hold text: faster than the text itself."""
        import pyarrow as pa
        import pyarrow.dataset as ds

        if not pa.types.is_string(data.schema.field(column).type):
            return self.batches([column], data)
        coded = ds.ParquetFileFormat(read_options=ds.ParquetReadOptions(dictionary_columns={column}))
        return self.batches([column], ds.dataset(data.files, format=coded, filesystem=data.filesystem))

    def table(self, name: str) -> Table | None:
        """A table that the room read or that is published with the draft; None for a side table that is not there.

        Raises:
            LookupError: the room reads no such table.
        """
        if name not in self.around.tables:
            raise LookupError(f"the room reads no table {name!r}; it reads {', '.join(self.around.tables) or 'none'}")
        table = self.around.tables[name]
        try:
            return table if table.count() else None
        except OSError:
            return None


def surprise(value: float, usual: Sequence[float], rough: float) -> float:
    """How far a value lies from the median of the usual ones, in their robust standard deviations, at least ``rough``.

    Robust z: Iglewicz and Hoaglin, How to Detect and Handle Outliers, 1993, with 1.4826 times the median absolute
    deviation for the standard deviation.
    """
    middle = median(usual)
    spread = NORMAL * median(abs(each - middle) for each in usual)
    return (value - middle) / max(spread, rough)


def unusual(subject: Subject, measure: str, now: Measured) -> Measured:
    """The robust z of another measure's one value among those of earlier partitions; silent with fewer than three."""
    usual = [float(each) for each in subject.earlier(measure).values() if isinstance(each, int | float)]
    if len(usual) < LEAST or not isinstance(now.kept, int | float) or not math.isfinite(now.kept):
        return Measured()
    middle = median(usual)
    rough = max(ROUGH * abs(middle), 1e-9)
    said = f"{measure} is {now.kept:.4g}, of the {len(usual)} partitions before {middle:.4g} in the middle"
    return Measured([(said, surprise(float(now.kept), usual, rough))])
