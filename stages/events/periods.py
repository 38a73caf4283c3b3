"""The events period by period: those of an earlier partition are the same files, the later ones are written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from narrows.asof import KNOWN
from narrows.engine.spark import Parts, part_writer
from narrows.stage import Table

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame


@dataclass(frozen=True)
class Periods:
    """Events as files of periods: links to those of an earlier partition, and the rows that are written.

    What is known by a period does not change with what arrives afterwards: of two copies the first is the event.
    """

    rows: Parts
    earlier: Table | None = None
    again: Collection[str] = ()
    """Periods of the earlier partition that are among the rows: a file that arrived later says that they had more."""

    def save(self, folder: Path) -> None:
        """Write below a folder."""
        for place, file in self.shared().items():
            target = folder / place
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(file, target)
            except OSError:  # a file system without links
                shutil.copyfile(file, target)
        self.rows.save(folder)

    def shared(self) -> dict[Path, Path]:
        """The files of the earlier partition that this one has as well, by their place below the table."""
        folders = {f"{KNOWN}={period}" for period in self.again}
        files = self.earlier.files() if self.earlier else ()
        return {place: file for file, place in files if place.parts[0] not in folders}


def by_period(events: DataFrame, order: Collection[str]) -> Parts:
    """Tasks that write events below the folder of the period by which each was known, in order of its columns ``order``."""
    return Parts(events.repartition(KNOWN).sortWithinPartitions(KNOWN, *order), _write)


def _write(batches: Iterator[pa.RecordBatch], folder: Path) -> None:
    """One file a period; the rows come sorted by it, so that one period at a time is in memory."""
    import pyarrow as pa
    import pyarrow.compute as pc

    current = ""
    with ExitStack() as open_file:
        for batch in batches:
            for period in pc.unique(batch[KNOWN]).to_pylist():
                part = pa.table(batch).filter(pc.equal(batch[KNOWN], pa.scalar(period))).drop_columns([KNOWN])
                if period != current:
                    open_file.close()
                    writer = open_file.enter_context(part_writer(part.schema, folder / f"{KNOWN}={period}"))
                    current = period
                writer.write_table(part)
