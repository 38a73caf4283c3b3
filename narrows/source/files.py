"""Where rows come from: events with optional items and users, described by the settings of ``[source]``."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from narrows.source.errors import SourceError
from narrows.source.mapped import COLUMNS, NEEDED, mapped
from narrows.source.named import FILES
from narrows.source.pieces import Piece, completed, not_before, nothing
from narrows.source.remote import Location
from narrows.source.tabular import read

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from narrows.settings import Settings, SourceSettings

__all__ = ["Source", "SourceError", "open_source"]


@dataclass(frozen=True)
class Source:
    """Events with optional items and users; the description is checked, nothing is read yet."""

    settings: SourceSettings
    cache: Path
    """Where remote files and downloads are kept."""
    base: Path
    """Where relative paths start."""

    @cached_property
    def location(self) -> Location:
        return Location(self.base, self.cache)

    def fingerprint(self) -> str:
        """Changes when a file changes (size, modification, ETag or content) or the description does."""
        parts: list[Any] = [asdict(self.settings)]
        for url in (self.settings.events, self.settings.items, self.settings.users):
            for file in self.files(url) if url else []:
                parts.append([file.name, file.stat().st_size, self.location.stamp(url, file)])
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def events(self, session: SparkSession, piece: Piece | None = None) -> DataFrame:
        """Raw events: the mapped columns by our names (ids as text), ``raw``, the whole row as a struct, ``file``, the file's

        address, and, where the file can have rows that cannot be read, ``corrupt``: whether this is one.

        Args:
            session: of Spark.
            piece: some of the files, with all columns of the source; None = all files.

        Raises:
            SourceError: no such files, or they cannot be read, or a mapped column is not in them.
            OtherColumns: the files of a piece have columns that the source had not.
        """
        return self._rows(session, self.settings.events, "event_columns", piece)

    def listing(self) -> dict[str, tuple[Path, str]]:
        """The files of the events by a name that stays, each with what changes when its content does, as they are now."""
        files = {}
        for file in self.files(self.settings.events):
            name = file.relative_to(self.base) if file.is_relative_to(self.base) else file
            files[str(name)] = (file, f"{file.stat().st_size} {self.location.stamp(self.settings.events, file)}")
        return files

    def items(self, session: SparkSession) -> DataFrame | None:
        """Raw rows of the items table, as `events`; None where the source has none."""
        return self._rows(session, self.settings.items, "item_columns") if self.settings.items else None

    def users(self, session: SparkSession) -> DataFrame | None:
        """Raw rows of the users table, as `events`; None where the source has none."""
        return self._rows(session, self.settings.users, "user_columns") if self.settings.users else None

    def files(self, url: str) -> list[Path]:
        """The local files that ``url`` means; see `Location.files`."""
        return self.location.files(url)

    def _rows(self, session: SparkSession, url: str, key: str, piece: Piece | None = None) -> DataFrame:
        columns = getattr(self.settings, key)
        files = (piece.files if piece else []) or self.files(url)
        frame = read(session, files) if not piece or piece.files else nothing(session, piece.columns)
        if piece:
            frame = completed(frame, piece.columns, files[0]) if piece.columns else frame
            if piece.since and (late := not_before(frame, columns, piece.since, self.settings.time_format)) is not None:
                frame = frame.where(late)
        return mapped(frame, files[0], columns, key)


def open_source(settings: Settings) -> Source:
    """The source that ``[source]`` describes.

    Raises:
        SourceError: a missing or unknown key of the description.
    """
    given = settings.source
    if not given.events:
        raise SourceError(f'[source] name = "{FILES}" needs `events`: the path, URL or glob of the events.')
    for key, known in COLUMNS.items():
        columns = getattr(given, key)
        if wrong := [name for name in columns if name not in known]:
            raise SourceError(
                f"[source.{key}] {wrong[0]!r} is not a known column. The columns are: {', '.join(known)}."
            )
        if missing := [name for name in NEEDED[key] if columns and name not in columns]:
            raise SourceError(f"[source.{key}] needs {', '.join(missing)}: our name = your name.")
    return Source(given, settings.state / "sources", settings.base)
