"""The events period by period: those of an earlier partition are the same files, the later ones are written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from narrows.asof import KNOWN
from narrows.engine.spark import Parts, part_writer
from narrows.stage import Asof, Table
from narrows.store.write import write_table

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame


@dataclass
class Periods:
    """Events as files of periods: links to those of an earlier partition, and the rows that are written.

    What is known by a period does not change with what arrives afterwards: of two copies the first is the event.
    """

    rows: Parts
    earlier: Table | None = None
    again: Collection[str] = ()
    """Periods of the earlier partition that are among the rows: a file that arrived later says that they had more."""
    place: Path | None = field(default=None, init=False)
    """The folder where they were saved."""

    def save(self, folder: Path) -> None:
        """Write below a folder."""
        link(self.shared(), folder)
        self.rows.save(folder)
        self.place = folder

    def shared(self) -> dict[Path, Path]:
        """The files of the earlier partition that this one has as well, by their place below the table."""
        folders = {f"{KNOWN}={period}" for period in self.again}
        files = self.earlier.files() if self.earlier else ()
        return {place: file for file, place in files if place.parts[0] not in folders}


@dataclass(frozen=True)
class Known:
    """The periods up to an as-of, of those that one job makes for several: the last as-of is saved first, of its files are the others."""

    periods: Periods
    asof: Asof
    before: Asof | None
    """The as-of before it in the job."""

    def save(self, folder: Path) -> None:
        """Write below a folder."""
        if self.periods.place is None:
            self.periods.save(folder)
        else:
            link(self._until(self.asof), folder)

    def shared(self) -> dict[Path, Path]:
        """The files that the partition before this one has as well, by their place below the table."""
        return self._until(self.before) if self.before else self.periods.shared()

    def _until(self, asof: Asof) -> dict[Path, Path]:
        saved = files_below(self.periods.place) if self.periods.place else {}
        return {place: file for place, file in saved.items() if place.parts[0] <= f"{KNOWN}={asof}"}


@dataclass
class Once:
    """Rows that partitions of several as-ofs have alike: written for the first, links to its files for the others."""

    data: Any
    place: Path | None = None

    def save(self, folder: Path) -> None:
        """Write below a folder."""
        if self.place is None:
            write_table(self.data, folder)
            self.place = folder
        else:
            folder.mkdir(parents=True, exist_ok=True)
            link(files_below(self.place), folder)


def files_below(folder: Path) -> dict[Path, Path]:
    """The Parquet files of a folder, by their place below it."""
    return {file.relative_to(folder): file for file in sorted(folder.rglob("*.parquet"))}


def link(files: Mapping[Path, Path], folder: Path) -> None:
    """Let files be found below another folder too, under their places."""
    for place, file in files.items():
        target = folder / place
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(file, target)
        except OSError:  # a file system without links
            shutil.copyfile(file, target)


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
