"""CSV and TSV into Spark frames; quotes, line breaks inside quotes, encoding and headers are checked first."""

from __future__ import annotations

import csv
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from narrows.source.errors import SourceBroken, SourceError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

CORRUPT = "_corrupt"
"""The column that holds a line that could not be parsed."""
ONE_LINE, SEVERAL_LINES, BROKEN = range(3)
"""The quotes of a file: they enclose no line break, or some, or do not pair up."""


def quoted(name: str) -> str:
    """A column's name as Spark's SQL takes it, whatever is in it."""
    return f"`{name.replace('`', '``')}`"


def read_delimited(session: SparkSession, files: list[Path], paths: list[str], separator: str) -> DataFrame:
    """All rows as text; rows with too few or many cells or with broken quotes are in column ``_corrupt``.

    Raises:
        SourceError: a file that is damaged, is not UTF-8 or has no header, or headers that differ.
    """
    from pyspark.sql import functions as F

    names = _header(files, separator)
    schema = ", ".join(f"{quoted(name)} string" for name in [*names, CORRUPT])
    options = {"sep": separator, "escape": '"', "columnNameOfCorruptRecord": CORRUPT}
    quotes = max(_quotes(file, separator) for file in files)
    if quotes != BROKEN:
        multiline = quotes == SEVERAL_LINES  # Spark does not split such files
        return session.read.csv(paths, schema, header=True, enforceSchema=True, multiLine=multiline, **options)
    # a quote that never closes would swallow all rows after it: every line is a row, and one with half a pair is corrupt
    lines = session.read.text(paths).where(F.trim("value") != "")
    rows = lines.select("value", F.from_csv("value", schema, options).alias("cells"))
    unpaired = F.length(F.regexp_replace("value", '[^"]', "")) % 2 == 1
    header = F.array(*[F.col(f"cells.{quoted(name)}") for name in names]) == F.array(*map(F.lit, names))
    rows = rows.where(~F.coalesce(header, F.lit(False)))
    corrupt = F.when(unpaired, F.col("value")).otherwise(F.col(f"cells.{CORRUPT}")).alias(CORRUPT)
    return rows.select(*[F.col(f"cells.{quoted(name)}") for name in names], corrupt)


@contextmanager
def _opened(file: Path, mode: str, **options: Any) -> Iterator[IO[Any]]:
    import fsspec

    with fsspec.open(str(file), mode, compression="infer", **options) as content:
        yield content


def _quotes(file: Path, separator: str) -> int:
    """`ONE_LINE`, `SEVERAL_LINES` or `BROKEN`; for most files one pass over their bytes tells.

    Raises:
        SourceError: the file breaks off, is damaged or is not UTF-8.
    """
    unpaired, number = False, 0
    try:
        with _opened(file, "rb") as lines:
            for data in lines:
                number += 1
                unpaired |= bool(data.count(b'"') & 1)
                if not data.isascii():  # Spark would make one letter of all that it cannot decode
                    data.decode()
    except UnicodeDecodeError as error:
        raise SourceError(
            f"[source] {file} cannot be read (line {number}: {error}). It must be UTF-8 text: convert it."
        ) from error
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise SourceBroken(
            f"[source] {file} is damaged: it cannot be read to its end ({error}). Replace or remove it."
        ) from error
    if not unpaired:
        return ONE_LINE
    with _opened(file, "rt", newline="", encoding="utf-8-sig") as lines:
        last, ends, count = [""], set(), 0

        def lines_noted() -> Iterator[str]:
            for last[0] in lines:
                yield last[0]

        rows = csv.reader(lines_noted(), delimiter=separator, strict=True)
        try:
            for _ in rows:
                count += 1
                ends.add(last[0][len(last[0].rstrip("\r\n")) :])
        except csv.Error:
            return BROKEN
    if count == rows.line_num:
        return ONE_LINE
    return SEVERAL_LINES if len(ends - {""}) == 1 else BROKEN  # over several lines Spark knows the first row's end only


def _header(files: list[Path], separator: str) -> list[str]:
    headers: list[list[str]] = []
    for file in files:
        try:
            with _opened(file, "rt", newline="", encoding="utf-8-sig") as lines:
                headers.append(next(csv.reader(lines, delimiter=separator), []))
        except (OSError, EOFError, UnicodeDecodeError, csv.Error, zlib.error) as error:
            raise SourceBroken(
                f"[source] {file} cannot be read ({error}). It must be UTF-8 text with a header."
            ) from error
        if not any(headers[-1]):
            raise SourceError(f"[source] {file} has no header. Give the columns' names in its first line.")
        if len(set(headers[-1])) < len(headers[-1]):
            raise SourceError(f"[source] {file} has two columns of one name: {', '.join(headers[-1])}. Rename one.")
        if headers[-1] != headers[0]:
            raise SourceError(
                f"[source] {file}: its header {headers[-1]} differs from {files[0].name}'s {headers[0]}. Make them alike."
            )
    return headers[0]
