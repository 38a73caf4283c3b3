"""A file's columns by our names: the column maps of ``[source]``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from narrows.columns import (
    AVAILABLE_AT,
    EVENT_COLUMNS,
    EVENT_TIME,
    INGESTED_AT,
    ITEM,
    ITEM_COLUMNS,
    POSITION,
    PRICE,
    PROPENSITY,
    USER,
    USER_COLUMNS,
    VALUE,
)  # fmt: skip
from narrows.source.delimited import CORRUPT, quoted
from narrows.source.errors import SourceError
from narrows.source.tabular import as_text, kind_of

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

COLUMNS = {"event_columns": EVENT_COLUMNS, "item_columns": ITEM_COLUMNS, "user_columns": USER_COLUMNS}
NEEDED = {"event_columns": (USER, ITEM, EVENT_TIME), "item_columns": (ITEM,), "user_columns": (USER,)}
NUMBERS = (EVENT_TIME, INGESTED_AT, VALUE, PRICE, POSITION, PROPENSITY, AVAILABLE_AT)
"""Columns that keep the file's type until `events` types them; all others are text."""
FILE = "file"
"""The column with the address of the file that a row is from."""


def mapped(frame: DataFrame, file: Path, columns: dict[str, str], key: str) -> DataFrame:
    """The rows of ``file`` (and its like) by our names, with ``raw``, the whole row as a struct, and ``file``, its address.

    Where there can be rows that cannot be read, ``corrupt`` tells them.

    Args:
        frame: the rows as they are.
        file: named in messages.
        columns: our name = the file's, or an expression over its columns; empty takes the columns of our names.
        key: which of the column maps it is: a key of `COLUMNS`.

    Raises:
        SourceError: a column that the file lacks, an expression that Spark refuses, or a needed column is not mapped.
    """
    from pyspark.sql import functions as F

    names = [name for name in frame.columns if name != CORRUPT]
    picked = {"raw": F.struct("*"), FILE: F.input_file_name()}
    if CORRUPT in frame.columns:
        picked["corrupt"] = F.col(CORRUPT).isNotNull()
    known = COLUMNS[key]
    for ours, theirs in (columns or {name: name for name in names if name in known}).items():
        picked[ours] = _picked(frame, file, names, theirs, f"{key}.{ours} = {theirs!r}")
    if missing := [name for name in NEEDED[key] if name not in picked]:
        raise SourceError(
            f"[source] {file} has no column {missing[0]!r}. Map it in [source.{key}]; the file has: {', '.join(names)}."
        )
    frame = frame.select([column.alias(name) for name, column in picked.items()])
    text = {
        name: as_text(F.col(name), frame.schema[name].dataType)
        for name in known
        if name in picked and name not in NUMBERS
    }
    return frame.withColumns(text)


def _picked(frame: DataFrame, file: Path, names: list[str], theirs: str, setting: str) -> Column:
    """A column of the file, or an expression over its columns."""
    from pyspark.errors import PySparkException
    from pyspark.sql import functions as F

    column = F.col(quoted(theirs)) if theirs in names else F.expr(theirs)
    try:
        if theirs not in names and theirs.isidentifier():  # Spark knows `user` and `current_date` as functions
            raise KeyError(theirs)
        frame.select(column)
    except (PySparkException, KeyError) as error:
        reason = f"{file} has no such column (and it is no expression over its columns)"
        if isinstance(error, PySparkException) and "UNRESOLVED_COLUMN" not in str(error.getCondition()):
            reason = f"over {file} Spark says: {str(error).strip().splitlines()[0]}"
            if kind_of(file) != "parquet":
                reason += " All columns of this file are text: for numbers write try_cast(column as double)"
        raise SourceError(f"[source] {setting}: {reason}. It has: {', '.join(names)}.") from error
    return column
