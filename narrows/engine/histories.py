"""Events as several as-ofs knew them: the one place where a profile's reach into time is decided.

Spark hands every task the whole history of some users (or items); inside the task Polars makes the rows of all as-ofs
and writes them. Measured against the same features in Spark SQL this takes a small fraction of the CPU
(docs/experiments.md).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from narrows.asof import EPOCH, KNOWN, Asof, known_period
from narrows.columns import (
    ASOF,
    CONTEXT,
    EVENT_TIME,
    EVENT_TYPE,
    INGESTED_AT,
    ITEM,
    ITEM_TEXTS,
    KIND,
    PRICE,
    SESSION,
    USER,
    VALUE,
)
from narrows.engine.hot import Parted, hot_keys, say_hot, summarised, unpacked, with_merged
from narrows.engine.sides import Side
from narrows.engine.spark import TASK, Parts, write_part
from narrows.engine.undo import KNOWN_AT, UNDONE_AT, UNDONE_KNOWN, kinds_in, with_undone
from narrows.kinds import EXPOSURE, KINDS, POSITIVE, UNDO
from narrows.stage import Table

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa
    from pyspark.sql import DataFrame

    Kernel = Callable[[pl.DataFrame, list[Asof]], Iterator[pl.DataFrame]]

SECONDS_A_DAY = 86_400.0


@dataclass(frozen=True)
class Scale:
    """What lengths of time are counted in."""

    horizon: timedelta
    visit: timedelta
    """Events of a user within one period of this length are one visit."""
    reach: timedelta | None = None
    """How far back events are known at all, to the start of a visit's period; None = however old they are."""

    def oldest(self, asof: Asof) -> int | None:
        """The number of the oldest visit period that an as-of knows; None = there is none."""
        return None if self.reach is None else int((asof.end - self.reach - EPOCH) // self.visit)

    def begins(self, asof: Asof) -> datetime | None:
        """When that period begins."""
        oldest = self.oldest(asof)
        return None if oldest is None else EPOCH + oldest * self.visit


ATTRIBUTES = ("category", "subcategory", "brand")
SIDE = list(ITEM_TEXTS)
UNDONE = "undone"
"""Of a cancelled positive: the number of the period by which that was known."""
OF_KINDS = (KIND, EVENT_TYPE, SESSION, KNOWN_AT)
"""What tells kinds apart, and what an undo cancels; `dated` gives it where there is more than one kind."""


def dated(session: Any, log: Table, asofs: Sequence[Asof], scale: Scale) -> DataFrame:
    """Events known by the last of the as-ofs, as far back as the first of them knows: ids, ``value``, ``price``, ``context``, ``session_id`` (else the visit), ``second`` (since
    1970, float) and ``known`` (the number of the period by which it had happened and arrived, see ``Asof.period``).
    """
    from pyspark.sql import functions as F

    last, kinds = max(asofs), kinds_in(log)
    rows = log.known_at(last).spark(session)
    if begins := earliest(asofs, scale, kinds):
        folder = str(Asof.of_period((begins - EPOCH) // last.grain, last.grain))  # no row is known before it happens
        rows = rows.where((F.col(KNOWN) >= folder) & (F.col(EVENT_TIME) >= F.lit(begins)))
    known = known_period(F.greatest(EVENT_TIME, INGESTED_AT), last.grain).alias(KNOWN)
    period = F.floor(F.col(EVENT_TIME).cast("double") / scale.visit.total_seconds())
    visit = F.coalesce(F.col(SESSION), period.cast("string")).alias(SESSION)
    second = F.col(EVENT_TIME).cast("double").alias("second")
    columns: list[Any] = [USER, ITEM, known, second, VALUE, PRICE, CONTEXT, visit]
    if kinds == {POSITIVE}:
        return rows.select(*columns)
    at = F.greatest(EVENT_TIME, INGESTED_AT).cast("double").alias(KNOWN_AT)
    told = rows.where(F.col(KIND) != EXPOSURE).select(*columns, KIND, EVENT_TYPE, at)
    if EXPOSURE not in kinds:
        return told
    # once is enough; where the past ends, once a visit
    shown = rows.where(F.col(KIND) == EXPOSURE)
    if scale.reach is None:
        shown = shown.groupBy(USER, ITEM).agg(F.min(known).alias(KNOWN))
    else:
        begin = (period * scale.visit.total_seconds()).cast("double").alias("second")
        shown = shown.groupBy(USER, ITEM, begin).agg(F.min(known).alias(KNOWN))
    return told.unionByName(shown.withColumn(KIND, F.lit(EXPOSURE)), allowMissingColumns=True)


def earliest(asofs: Sequence[Asof], scale: Scale, kinds: Collection[str]) -> datetime | None:
    """Before when no event need be read; None = all are, as where an undo may cancel what is older."""
    return None if UNDO in kinds else scale.begins(min(asofs))


def with_side(rows: DataFrame, table: DataFrame) -> DataFrame:
    """``rows`` and the side table's as well, each as one event that no as-of knows: it has a profile before its first event."""
    from pyspark.sql import functions as F

    return rows.unionByName(table.withColumn(KNOWN, F.lit(None).cast("bigint")), allowMissingColumns=True)


def each_asof(
    rows: DataFrame, key: str, side: Side, asofs: list[Asof], scale: Scale, kernel: Kernel, parted: Parted | None = None
) -> Parts:
    """``kernel`` over the rows of some ``key`` values (whole) at a time, saved below ``asof=<date>``, in order of ``key``.

    ``kernel`` receives the rows joined with the table ``side``, with ``period`` (text as Enums in order; rows with a null
    ``known`` are of a side table) and the as-ofs; it yields one frame per as-of, with one row per ``key``. Where ``parted``
    says how, a key with very many rows is no whole: several tasks sum up parts of it.
    """
    size, conf = _stored(rows), rows.sparkSession.conf
    most = int(str(conf.get(TASK)))
    parts = max(int(str(conf.get("spark.sql.shuffle.partitions"))), -(-size // most))
    rows, side = side.joined(rows)
    given = dict(rows.dtypes)

    def read(batches: Iterator[pa.RecordBatch]) -> pl.DataFrame:
        return joined_with(frame(given, batches), side.tables(), scale)

    if size > most and (hot := hot_keys(rows, key)):
        if parted:
            rows = summarised(rows, key, hot, parted, read, asofs)
        else:
            say_hot(hot, key)
    kinds = dict(rows.dtypes)

    def work(batches: Iterator[pa.RecordBatch], folder: Path) -> None:
        whole, summed = unpacked(frame(kinds, batches), key)
        joined = joined_with(marked(whole, asofs[0].grain), side.tables(), scale)
        for number, (asof, profiles) in enumerate(zip(asofs, kernel(coded(joined), asofs), strict=True)):
            if summed is not None and parted:
                profiles = with_merged(profiles, summed, number, key, parted)
            write_part(plain(profiles.to_arrow()), folder / f"{ASOF}={asof}")

    # by range: the files, in order, hold the keys in order, whatever the number of partitions (by hash it would be 2 s faster)
    return Parts(rows.repartitionByRange(parts, key), work)


def _stored(rows: DataFrame) -> int:
    """What Spark knows of the size of the files that a frame is read from, in bytes."""
    return int(rows._jdf.queryExecution().optimizedPlan().stats().sizeInBytes())


def marked(rows: pl.DataFrame, grain: timedelta) -> pl.DataFrame:
    """Rows with kinds, whole users or items of them: with ``undone``, where a positive is cancelled."""
    import polars as pl

    if KIND not in rows.columns:
        return rows
    rows = with_undone(rows)
    undone = (pl.col(UNDONE_KNOWN) / grain.total_seconds()).floor().cast(pl.Int64).alias(UNDONE)
    rows = rows.with_columns(undone, pl.col(KIND).cast(pl.Enum(KINDS))).drop(
        UNDONE_AT, UNDONE_KNOWN, KNOWN_AT, EVENT_TYPE
    )
    return rows if rows[UNDONE].count() else rows.drop(UNDONE)


def positives(rows: pl.DataFrame) -> pl.DataFrame:
    """The positives, and the rows of a side table."""
    import polars as pl

    if KIND not in rows.columns:
        return rows
    return rows.filter(pl.col(KIND).is_null() | (pl.col(KIND) == POSITIVE)).drop(KIND)


def of_kind(rows: pl.DataFrame, kind: str) -> pl.DataFrame:
    """The events of a kind that is not the positives'."""
    import polars as pl

    return rows.filter(pl.col(KIND) == kind).drop(KIND) if KIND in rows.columns else rows.clear()


def joined_with(rows: pl.DataFrame, sides: dict[str, pa.Table], scale: Scale) -> pl.DataFrame:
    """The rows with the side tables' columns and ``period``, the number since 1970 of the visit's period."""
    import polars as pl

    for column, table in sides.items():
        rows = rows.join(pl.DataFrame(pl.from_arrow(table)), column, "left")
    return rows.with_columns(period=(pl.col("second") / scale.visit.total_seconds()).floor().cast(pl.Int64))


def frame(kinds: dict[str, str], batches: Iterator[pa.RecordBatch]) -> pl.DataFrame:
    """A task's rows; without any, an empty frame of the same types (``kinds``: Spark's names for them)."""
    import polars as pl
    import pyarrow as pa

    given = list(batches)
    if given:
        return pl.DataFrame(pl.from_arrow(pa.Table.from_batches(given)))
    types = {"double": pl.Float64, "bigint": pl.Int64, "int": pl.Int32, "binary": pl.Binary}
    return pl.DataFrame(schema={name: types.get(kind, pl.String) for name, kind in kinds.items()})


def coded(rows: pl.DataFrame) -> pl.DataFrame:
    """Text columns as Enums of their sorted values: the order and the groups of text at the cost of integers."""
    import polars as pl

    text = [name for name, kind in rows.schema.items() if kind == pl.String]
    return rows.with_columns(pl.col(name).cast(pl.Enum(rows[name].unique().drop_nulls().sort())) for name in text)


def plain(table: pa.Table) -> pa.Table:
    """The table with plain text and 32-bit offsets, which every reader takes."""
    import pyarrow as pa

    def kind(of: pa.DataType) -> pa.DataType:
        if pa.types.is_large_list(of):
            return pa.list_(kind(of.value_type))
        return pa.string() if pa.types.is_large_string(of) else of

    return table.cast(pa.schema([(field.name, kind(field.type)) for field in table.schema]))


def known_by(rows: pl.DataFrame, asof: Asof, scale: Scale) -> pl.DataFrame:
    """The rows that had happened and arrived by the as-of and were not cancelled by then, with their ages.

    ``age`` is in days, fractional, to the end of the as-of, and ``horizons`` the same in horizons; ``visits_ago`` is the
    age of the visit's period in horizons, 0 = the as-of's own period.
    """
    import polars as pl

    horizon, visit = scale.horizon.total_seconds(), scale.visit.total_seconds()
    age = pl.lit(asof.end.timestamp()) - pl.col("second")
    newest = -(-asof.end.timestamp() // visit) - 1  # the period of the last known instant
    known = rows.filter(pl.col(KNOWN) <= asof.period)
    if (oldest := scale.oldest(asof)) is not None:
        known = known.filter(pl.col("period") >= oldest)
    if UNDONE in rows.columns:
        known = known.filter(pl.col(UNDONE).is_null() | (pl.col(UNDONE) > asof.period)).drop(UNDONE)
    return known.with_columns(
        age=age / SECONDS_A_DAY, horizons=age / horizon, visits_ago=(newest - pl.col("period")) * visit / horizon
    )


def everything(rows: pl.DataFrame, asof: Asof, scale: Scale) -> pl.DataFrame:
    """The known events and the side tables' rows: every user and item that the as-of has heard of."""
    import polars as pl

    known, oldest = pl.col(KNOWN) <= asof.period, scale.oldest(asof)
    return rows.filter(pl.col(KNOWN).is_null() | (known if oldest is None else known & (pl.col("period") >= oldest)))


def complete(rows: pl.DataFrame) -> pl.DataFrame:
    """Codes are text again, counts of nothing are 0 and lists of nothing are empty."""
    import polars as pl
    from polars import selectors as cs

    coded = {name: kind for name, kind in rows.schema.items() if isinstance(getattr(kind, "inner", kind), pl.Enum)}
    text = {name: pl.List(pl.String) if isinstance(kind, pl.List) else pl.String for name, kind in coded.items()}
    rows = rows.cast(text)  # type: ignore[arg-type]
    lists = [pl.col(name).fill_null(pl.lit([], dtype=kind)) for name, kind in rows.schema.items() if kind == pl.List]
    return rows.with_columns(cs.integer().fill_null(0), *lists)
