"""Source files as lazy Polars frames: a quick look at them where starting Spark would take longer than the look."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from narrows.source.errors import SourceError
from narrows.source.tabular import kind_of

if TYPE_CHECKING:
    import polars as pl


def scan(files: list[Path]) -> pl.LazyFrame:
    """All rows of files of one kind; of CSV and TSV every column is text, as in a run.

    Raises:
        SourceError: unknown or mixed kinds of files, or a file that cannot be opened.
    """
    import polars as pl

    kinds = {kind_of(file): file for file in files}
    if len(kinds) > 1:
        raise SourceError(f"[source] mixed kinds of files: {', '.join(map(str, kinds.values()))}. Point at one kind.")
    kind = next(iter(kinds))
    try:
        if kind == "parquet":
            return pl.scan_parquet(files, missing_columns="insert", extra_columns="ignore", glob=False)
        contents = [_content(file) for file in files]
        if kind == "json":
            return pl.concat([pl.scan_ndjson(content) for content in contents], how="diagonal_relaxed")
        options = {"separator": kind, "infer_schema": False, "truncate_ragged_lines": True, "glob": False}
        return pl.concat([pl.scan_csv(content, **options) for content in contents])  # type: ignore[arg-type]
    except (pl.exceptions.PolarsError, OSError, EOFError) as error:
        raise SourceError(f"[source] {files[0]} cannot be read: {first_line(error)}") from error


def rows(frame: pl.LazyFrame, file: Path) -> pl.DataFrame:
    """The frame's rows, in batches where Polars can.

    Raises:
        SourceError: ``file``, or one like it, cannot be read to its end.
    """
    import polars as pl

    try:
        return frame.collect(engine="streaming")
    except pl.exceptions.PolarsError as error:
        raise SourceError(
            f"[source] {file} cannot be read: {first_line(error)}. Text must be UTF-8 with a header."
        ) from error


def first_line(error: BaseException) -> str:
    """What an error says, without the hints that Polars adds in further lines."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def _content(file: Path) -> Path | io.BytesIO:
    """The file, or what a packed one holds: Polars unpacks not every kind while it scans."""
    if file.suffix not in (".gz", ".bz2"):
        return file
    import fsspec

    with fsspec.open(str(file), "rb", compression="infer") as content:
        return io.BytesIO(content.read())
