"""Small tables that rows are joined with inside tasks, and large ones that Spark joins; none comes to the driver."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from narrows.store.table import Table

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

SIDE_BYTES = 20_000_000
"""Of the files of a table that every task reads for itself: some million rows, a few hundred megabytes in memory."""


@dataclass(frozen=True)
class Side:
    """A table that is joined by one column."""

    column: str
    table: Table
    columns: list[str]
    """What is read of it, ``column`` among them."""
    is_joined: bool = False
    """Whether Spark has joined it: nothing is left for the tasks."""

    def joined(self, rows: DataFrame) -> tuple[DataFrame, Side]:
        """``rows`` with the table's columns where it is too large for every task to have it whole, and what is left to do."""
        size = sum(file.stat().st_size for file, _ in self.table.files())
        if size <= SIDE_BYTES:
            return rows, self
        side = self.table.spark(rows.sparkSession).select(*self.columns)
        return rows.join(side, self.column, "left"), replace(self, is_joined=True)

    def tables(self) -> dict[str, pa.Table]:
        """In a task: the table by the column that joins it, read from where it lies; none if Spark has joined it."""
        return {} if self.is_joined else {self.column: self.table.arrow(self.columns)}
