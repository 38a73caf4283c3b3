"""Keys with very many rows, such as an item in half of all events: cut into parts that several tasks sum up."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from itertools import accumulate
from typing import TYPE_CHECKING

from narrows.asof import Asof

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa
    from pyspark.sql import DataFrame

    Summaries = Callable[[pl.DataFrame, list[Asof]], Iterator[pl.DataFrame]]

LOG = logging.getLogger(__name__)
HOT_ROWS = 2_000_000
"""Rows of a key beyond which they are cut into parts of about so many; some hundred megabytes in memory."""
PART = "part"
SUMMARY = "summary"
"""The column of a part's summaries, as Arrow's IPC; null in a row that is an event."""
NUMBER = "number"
"""Which of the as-ofs a row of a part's summaries is of."""


@dataclass(frozen=True)
class Parted:
    """How the row of a hot key is made of parts of its rows."""

    by: str
    """Rows of a key with the same value of this column are in the same part."""
    summaries: Summaries
    """One frame per as-of with what is known of a part; receives what a kernel does."""
    merged: Callable[[pl.DataFrame], pl.DataFrame]
    """The rows of a kernel, of the summaries of some keys as of one as-of; those of a key in the order of its parts."""


def hot_keys(rows: DataFrame, key: str) -> dict[str, int]:
    """The keys with more than ``HOT_ROWS`` rows, and how many they have; at most rows / ``HOT_ROWS`` of them."""
    from pyspark.sql import functions as F

    counts = rows.groupBy(key).agg(F.count("*").alias("rows")).where(F.col("rows") > HOT_ROWS)
    return dict(sorted((row[0], row[1]) for row in counts.collect() if row[0] is not None))


def summarised(
    rows: DataFrame, key: str, hot: dict[str, int], parted: Parted,
    read: Callable[[Iterator[pa.RecordBatch]], pl.DataFrame], asofs: list[Asof],
) -> DataFrame:  # fmt: skip
    """``rows`` with those of hot keys replaced by a row for each part: ``key``, ``part`` and its ``summary``.

    The parts follow from the rows alone, not from the cluster. They are kept on the executors, as sorting by range reads
    them twice.
    """
    from pyspark.sql import functions as F

    counts = {name: number // HOT_ROWS + 1 for name, number in hot.items()}
    firsts = dict(zip(counts, accumulate(counts.values(), initial=0), strict=False))
    parts, first = (
        F.create_map(*(F.lit(each) for pair in values.items() for each in pair))[F.col(key)]
        for values in (counts, firsts)
    )
    is_hot = F.col(key).isin(list(hot))
    salted = rows.where(is_hot).withColumn(PART, F.pmod(F.xxhash64(parted.by), parts).cast("int"))

    def sum_up(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        if given := list(batches):
            yield from _summed_up(read(iter(given)), key, parted, asofs)

    each_part = salted.repartitionById(sum(counts.values()), first + F.col(PART))  # a task for each
    summed = each_part.mapInArrow(sum_up, f"{key} string, {PART} int, {SUMMARY} binary")
    return rows.where(~is_hot).unionByName(summed.persist(), allowMissingColumns=True)


def _summed_up(rows: pl.DataFrame, key: str, parted: Parted, asofs: list[Asof]) -> Iterator[pa.RecordBatch]:
    import polars as pl
    import pyarrow as pa

    from narrows.engine.histories import coded, marked

    for (name, part), mine in rows.partition_by(key, PART, as_dict=True).items():
        frames = parted.summaries(coded(marked(mine.drop(PART), asofs[0].grain)), asofs)
        numbered = [frame.with_columns(pl.lit(number).alias(NUMBER)) for number, frame in enumerate(frames)]
        packed = BytesIO()
        pl.concat(numbered).write_ipc(packed)
        schema = pa.schema([(key, pa.string()), (PART, pa.int32()), (SUMMARY, pa.binary())])
        one = {key: str(name), PART: part, SUMMARY: packed.getvalue()}
        yield pa.RecordBatch.from_pylist([one], schema)


def unpacked(rows: pl.DataFrame, key: str) -> tuple[pl.DataFrame, pl.DataFrame | None]:
    """Events, and the summaries among them (None = there are none), with the ``number`` of their as-of and in order of parts."""
    import polars as pl

    if SUMMARY not in rows.columns:
        return rows, None
    parts = rows.filter(pl.col(SUMMARY).is_not_null()).sort(key, PART)
    whole = rows.filter(pl.col(SUMMARY).is_null()).drop(PART, SUMMARY)
    return whole, pl.concat([pl.read_ipc(each) for each in parts[SUMMARY]]) if parts.height else None


def with_merged(
    profiles: pl.DataFrame, parts: pl.DataFrame | None, number: int, key: str, parted: Parted
) -> pl.DataFrame:
    """A kernel's rows as of one as-of, and those of hot keys, in order of ``key``."""
    import polars as pl

    if parts is None:
        return profiles
    merged = parted.merged(parts.filter(pl.col(NUMBER) == number).drop(NUMBER))
    return pl.concat([profiles, merged.select(profiles.columns).cast(profiles.schema)]).sort(key)


def say_hot(hot: dict[str, int], key: str) -> None:
    """A line about keys that one task must have whole: their rows are ordered lists, which do not add up."""
    if hot:
        most = max(hot, key=lambda name: hot[name])
        LOG.warning(
            "%d %s with more than %d events each (%s: %d): one task has all events of one in memory. If that is no real one, "
            "leave it out with [source] where.", len(hot), key, HOT_ROWS, most, hot[most],
        )  # fmt: skip
