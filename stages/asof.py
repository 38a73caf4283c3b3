"""Events as several as-ofs knew them: the one place where a profile's reach into time is decided.

Spark hands every task the whole history of some users (or items); inside the task Polars makes the rows of all as-ofs.
Measured against the same features in Spark SQL this takes a small fraction of the CPU (docs/experiments.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import date
from typing import TYPE_CHECKING, Any

from stages.columns import ASOF, CONTEXT, EVENT_TIME, INGESTED_AT, ITEM, ITEM_COLUMNS, PRICE, SESSION, USER, VALUE
from stages.stage import Table, end_of

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa
    from pyspark.sql import DataFrame

    Kernel = Callable[[pl.DataFrame, pl.DataFrame, date], pl.DataFrame]

SECONDS_A_DAY = 86_400.0
THINGS = ("category", "subcategory", "brand")
SIDE = [name for name in ITEM_COLUMNS if name != ITEM]


def dated(session: Any, events: Table, items: DataFrame | None, users: DataFrame | None, last: date) -> DataFrame:
    """Events known by the end of ``last``, with the side information of their item and user.

    Added: ``second`` (since 1970), ``known`` (the day by which it had happened and arrived), side columns (null where unknown).
    """
    from pyspark.sql import functions as F

    rows = events.spark(session).where(F.col("day") <= F.lit(last))
    known = F.to_date(F.greatest(EVENT_TIME, INGESTED_AT)).alias("known")
    day = F.to_date(EVENT_TIME).alias("event_day")
    rows = rows.select(
        USER, ITEM, day, known, F.col(EVENT_TIME).cast("double").alias("second"), VALUE, PRICE, CONTEXT,
        F.coalesce(F.col(SESSION), day.cast("string")).alias(SESSION),
    )  # fmt: skip
    rows = rows.join(F.broadcast(side(session, items, ITEM, THINGS)), ITEM, "left")
    return rows.join(F.broadcast(side(session, users, USER, ("segment",))), USER, "left")


def side(session: Any, table: DataFrame | None, key: str, columns: Iterable[str]) -> DataFrame:
    """Side information as text, one row per ``key``; columns that the source lacks are null."""
    from pyspark.sql import functions as F

    if table is None:
        return session.createDataFrame([], ", ".join(f"{name} string" for name in (key, *columns)))
    text = [(F.col(name) if name in table.columns else F.lit(None)).cast("string").alias(name) for name in (key, *columns)]
    return table.select(*text).dropna(subset=[key]).dropDuplicates([key])


def each_asof(rows: DataFrame, key: str, asofs: list[date], kernel: Kernel) -> DataFrame:
    """``kernel`` over the known events of every as-of, some ``key`` values (whole) at a time, as one frame.

    ``kernel`` receives the known events, with ``age`` and ``day_age`` (days to the end of the as-of, fractional and whole)
    beside the columns of ``dated``; the same rows and the side tables' own (``known`` is null); and the as-of.
    It returns one row per ``key``.
    """
    import polars as pl

    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        given = list(batches)
        if given:
            events = pl.DataFrame(pl.from_arrow(pa.Table.from_batches(given))).sort("second", USER, ITEM)
            for asof in asofs:
                made = kernel(known_by(events, asof), everything(events, asof), asof).with_columns(pl.lit(asof).alias(ASOF))
                yield from made.select(columns).to_arrow(compat_level=pl.CompatLevel.oldest()).cast(schema).to_batches()

    # the kernel itself says which columns it makes
    kinds = {"double": pl.Float64, "date": pl.Date}
    blank = pl.DataFrame(schema={name: kinds.get(kind, pl.String) for name, kind in rows.dtypes})
    empty = kernel(known_by(blank, asofs[0]), everything(blank, asofs[0]), asofs[0]).with_columns(pl.lit(asofs[0]).alias(ASOF))
    columns = empty.columns
    schema = plain(empty.to_arrow(compat_level=pl.CompatLevel.oldest()).schema)
    from pyspark.sql.pandas.types import from_arrow_schema

    made = rows.repartition(key).mapInArrow(work, from_arrow_schema(schema))
    return made.repartition(ASOF).sortWithinPartitions(ASOF, key)  # an as-of's rows in one file: an item's row number is its code


def plain(schema: pa.Schema) -> pa.Schema:
    """The schema with 32-bit offsets, which is what Spark takes from Arrow."""
    import pyarrow as pa

    def kind(of: pa.DataType) -> pa.DataType:
        if pa.types.is_large_list(of):
            return pa.list_(kind(of.value_type))
        return pa.string() if pa.types.is_large_string(of) else of

    return pa.schema([(field.name, kind(field.type)) for field in schema])


def known_by(events: pl.DataFrame, asof: date) -> pl.DataFrame:
    """The events that had happened and arrived by the end of ``asof``, with their ages."""
    import polars as pl

    end = end_of(asof).timestamp()
    known = events.filter(pl.col("known") <= asof)
    age = (end - pl.col("second")) / SECONDS_A_DAY
    return known.with_columns(age=age, day_age=(pl.lit(asof) - pl.col("event_day")).dt.total_days())


def everything(events: pl.DataFrame, asof: date) -> pl.DataFrame:
    """The known events and the side tables' rows: every user and item that the as-of has heard of."""
    import polars as pl

    return events.filter(pl.col("known").is_null() | (pl.col("known") <= asof))


def complete(made: pl.DataFrame) -> pl.DataFrame:
    """Counts of nothing are 0 and lists of nothing are empty."""
    import polars as pl
    from polars import selectors as cs

    lists = [pl.col(name).fill_null(pl.lit([], dtype=kind)) for name, kind in made.schema.items() if kind == pl.List]
    return made.with_columns(cs.integer().fill_null(0)).with_columns(lists)
