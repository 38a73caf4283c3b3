"""The pieces of a stream: one Parquet file for each micro-batch, in the folder of the source, where every run reads it.

A piece is named after its micro-batch and has its name when it is whole. A micro-batch that is repeated after a kill finds its
piece there and writes none. Beside the pieces, in a folder that no reader looks into, lie the checkpoint and what is taken.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from narrows.source.errors import OtherColumns, SourceError
from narrows.source.mapped import mapped
from narrows.source.pieces import Piece, completed
from narrows.source.tabular import reading
from narrows.store.partitions import write_json

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from narrows.source.files import Source

LOG = logging.getLogger(__name__)
HIDDEN = "_stream"
"""The folder in that of the source."""
EVENT_COLUMNS = "event_columns"

Measured = Callable[["DataFrame"], tuple[int, datetime | None, datetime | None]]
"""Of mapped rows: how many there are, and the first and last instant at which a sound one arrived."""
Stamp = tuple[int, int]
"""Size and time of a file: what changes when its content does."""


@dataclass(frozen=True)
class Taken:
    """What a stream has taken so far; kept as JSON."""

    id: str = field(default_factory=lambda: uuid4().hex[:8])
    """Begins the names of the pieces: a stream that begins anew never takes an old piece for its own."""
    columns: str = ""
    """The names and types of all columns so far: see `narrows.source.pieces.columns_of`."""
    begins: str = ""
    until: str = ""
    """The first and the last instant at which a sound row arrived, as ISO 8601; empty where none did."""
    files: dict[str, Stamp] = field(default_factory=dict)
    """The files of the landing folder that were taken, and are still there."""


@dataclass
class Pieces:
    """Writes micro-batches as pieces."""

    source: Source
    folder: Path
    """That of the source."""
    place: Path
    """Where the checkpoint and what is taken lie."""
    measured: Measured
    made: list[str] = field(default_factory=list)
    """The pieces of this call."""
    rows: int = 0
    """Their rows."""

    @property
    def checkpoint(self) -> Path:
        return self.place / "checkpoint"

    def taken(self) -> Taken:
        """What was taken so far."""
        file = self.place / "taken.json"
        if file.exists():
            return Taken(**json.loads(file.read_text(encoding="utf-8")))
        if self.checkpoint.exists():  # it would go on where nobody knows what was taken
            raise SourceError(
                f"[stream] {file} is not there. Remove {self.place} too: what is taken twice counts as duplicate."
            )
        self._keep(taken := Taken())
        return taken

    def add(self, name: str, frame: DataFrame, named: Path, files: dict[str, Stamp] | None = None) -> None:
        """Write the rows of a micro-batch as a piece, if it is not there.

        Args:
            name: of the micro-batch.
            frame: its rows, as the files or messages have them.
            named: stands for all files in messages.
            files: those that the rows are from.

        Raises:
            SourceBroken: a file cannot be read to its end.
            SourceError: a column has another type than before, or one that the settings name is not there.
        """
        taken = self.taken()
        piece = self.folder / f"{taken.id}-{name}.parquet"
        if piece.exists():  # the micro-batch is repeated: a kill came between its piece and the checkpoint
            return
        columns = _with(taken.columns, frame)
        try:
            frame = completed(frame, columns, named)
        except OtherColumns as error:
            raise SourceError(f"{error}. Replace or remove the file: what is taken has one type.") from error
        mapped(frame, named, self.source.settings.event_columns, EVENT_COLUMNS)  # refused here, not when it is taken
        draft = self.place / "draft"
        shutil.rmtree(draft, ignore_errors=True)
        with reading():
            frame.coalesce(1).write.option("compression", "zstd").parquet(str(draft))
        part = next(draft.glob("part-*.parquet"))
        with reading():
            rows, first, last = self.measured(self.source.events(frame.sparkSession, Piece([part])))
        at = sorted(filter(None, (taken.begins, taken.until, *(each.isoformat() for each in (first, last) if each))))
        taken = replace(taken, columns=columns, begins=at[0] if at else "", until=at[-1] if at else "")
        there = {file: stamp for file, stamp in taken.files.items() if Path(file).exists()}
        self._keep(replace(taken, files=there | (files or {})))
        if rows:
            part.replace(piece)
            self.made.append(piece.name)
            self.rows += rows
            LOG.info("stream: %s, %s rows", piece.name, f"{rows:,}")
        shutil.rmtree(draft)

    def note(self, files: dict[str, Stamp]) -> None:
        """Remember files as taken."""
        taken = self.taken()
        self._keep(replace(taken, files=taken.files | files))

    def _keep(self, taken: Taken) -> None:
        write_json(self.place / "taken.json", asdict(taken))


def stamp(file: Path) -> Stamp:
    """Size and time of a file."""
    found = file.stat()
    return found.st_size, found.st_mtime_ns


def _with(columns: str, frame: DataFrame) -> str:
    """The columns so far, and after them those that are new."""
    from pyspark.sql.types import StructType

    known = StructType.fromJson(json.loads(columns)) if columns else StructType()
    new = [each for each in frame.schema if each.name not in known.names]
    return StructType([*known, *new]).json()
