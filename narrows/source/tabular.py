"""Files into Spark frames: Parquet, CSV, TSV, JSON lines; an error names the file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlparse

from narrows.source.delimited import CORRUPT, quoted, read_delimited
from narrows.source.errors import SourceBroken, SourceError

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession
    from pyspark.sql.types import DataType

SUFFIXES = {"parquet": "parquet", "pq": "parquet", "csv": ",", "tsv": "\t", "inter": "\t", "item": "\t", "user": "\t",
            "jsonl": "json", "ndjson": "json", "json": "json"}  # fmt: skip
MAX_EXACT_INTEGER = 2.0**53
"""Up to here a float tells whole numbers apart."""


@contextmanager
def reading() -> Iterator[None]:
    """Around an action of Spark that reads source files.

    Raises:
        SourceError: a file breaks off, is damaged or is not there (named), or an expression of the column map fails on a row.
    """
    from py4j.protocol import Py4JJavaError
    from pyspark.errors import PySparkException

    try:
        yield
    except (PySparkException, Py4JJavaError) as error:
        text = str(error)
        if file := re.search(r"FAILED_READ_FILE.*?(file:\S+?)\.?\s", text, re.DOTALL):
            path = unquote(urlparse(file[1]).path)
            if "FILE_NOT_EXIST" in text:
                raise SourceError(
                    f"[source] {path} is not there for who reads it. Put it back; on a Spark cluster every worker must see it "
                    "at this path."
                ) from error
            raise SourceBroken(
                f"[source] {path} is damaged: it cannot be read to its end. Replace or remove it."
            ) from error
        if failure := re.search(r"\[(CAST_INVALID_INPUT|DIVIDE_BY_ZERO|ARITHMETIC_OVERFLOW)[^\n]*", text):
            raise SourceError(
                f"[source] an expression of the column map, or where, fails on a row: {failure[0]} "
                "Use try_cast or try_divide in it: the row then counts as broken or has no value."
            ) from error
        raise


def read(session: SparkSession, files: list[Path]) -> DataFrame:
    """All rows of files of one kind; unparsed lines in column ``_corrupt``, where there can be any.

    Raises:
        SourceError: unknown or mixed kinds, an empty or broken file, or files whose columns do not fit together.
    """
    from pyspark.errors import PySparkException
    from pyspark.sql import functions as F
    from pyspark.sql.types import LongType

    kinds = {kind_of(file): file for file in files}
    if len(kinds) > 1:
        raise SourceError(f"[source] mixed kinds of files: {', '.join(map(str, kinds.values()))}. Point at one kind.")
    for file in files:
        if file.stat().st_size == 0:
            raise SourceBroken(f"[source] {file} is empty. Replace or remove it.")
        if file.name[0] in "._":
            raise SourceError(f"[source] {file}: Spark skips files whose names start with '.' or '_'. Rename it.")
    kind = next(iter(kinds))
    paths = [re.sub(r"([\[\]{}*?\\])", r"\\\1", str(file)) for file in files]  # Spark takes every path for a glob
    try:
        if kind == "parquet":
            nanos, merge = _check_parquet(files)
            frame = session.read.option("mergeSchema", merge).parquet(*paths)
            for name in nanos:  # Spark's timestamps are microseconds: it reads these as numbers, but for the old INT96
                if not isinstance(frame.schema[name].dataType, LongType):
                    continue
                number = quoted(name)
                frame = frame.withColumn(name, F.expr(f"timestamp_micros(({number} - pmod({number}, 1000)) div 1000)"))
            return frame
        if kind == "json":
            frame = session.read.json(paths, primitivesAsString=True, columnNameOfCorruptRecord=CORRUPT)
            if frame.columns == [CORRUPT]:
                raise SourceError(f"[source] {files[0]} has no line that is a JSON object. Write one object a line.")
            return frame
        return read_delimited(session, files, paths, kind)
    except PySparkException as error:
        raise SourceError(f"[source] {files[0]} cannot be read: {str(error).splitlines()[0]}") from error


def kind_of(file: Path) -> str:
    """``parquet``, ``json`` or the separator of a text table.

    Raises:
        SourceError: the ending is unknown.
    """
    suffix = [part for part in file.suffixes if part not in (".gz", ".bz2")][-1:] or [""]
    kind = SUFFIXES.get(suffix[0].removeprefix(".").lower())
    if not kind or (kind == "parquet" and file.suffix in (".gz", ".bz2")):
        raise SourceError(
            f"[source] {file}: unknown kind of file. Known endings: {', '.join(SUFFIXES)}; text also with .gz, .bz2."
        )
    return kind


def as_text(column: Column, kind: DataType) -> Column:
    """An id as text, the same for 7, 7.0 and "7"; NaN is no id; bytes that are no text become hexadecimal."""
    from pyspark.sql import functions as F
    from pyspark.sql.types import BinaryType, FractionalType

    text = column.cast("string")
    if isinstance(kind, BinaryType):
        text = F.when(F.is_valid_utf8(column), text).otherwise(F.lower(F.hex(column)))
    if isinstance(kind, FractionalType):
        number = column.cast("double")
        whole = (number == F.floor(number)) & (F.abs(number) < MAX_EXACT_INTEGER)
        text = F.when(whole, number.cast("long").cast("string")).when(~F.isnan(number), text)
    return F.when(F.trim(text) != "", text)


def _check_parquet(files: list[Path]) -> tuple[list[str], bool]:
    """Read every footer, so that a broken file is named before a long job starts.

    Returns:
        The nanosecond columns, and whether the files have different columns.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds: dict[str, tuple[pa.DataType, Path]] = {}
    merge = False
    for file in files:
        try:
            schema = pq.read_schema(file)
        except (pa.ArrowException, OSError) as error:
            raise SourceBroken(
                f"[source] {file} is not a readable Parquet file ({error}). Replace or remove it."
            ) from error
        merge |= bool(kinds) and set(schema.names) != set(kinds)
        for field in schema:
            kind, first = kinds.setdefault(field.name, (field.type, file))
            if kind != field.type:
                raise SourceError(
                    f"[source] column {field.name!r} is {kind} in {first} and {field.type} in {file}. Make them alike."
                )
    return [name for name, (kind, _) in kinds.items() if pa.types.is_timestamp(kind) and kind.unit == "ns"], merge
