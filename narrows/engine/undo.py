"""What undo events (returns, cancellations) cancel: one rule, for every reader of events.

An undo cancels the latest positive of the same user and item that happened no later than it did and that nothing has
cancelled yet. Rows are taken in the order in which they became known, those of one instant in the order in which they
happened, and a match stays: what an as-of knows does not change with what arrives after it. An undo that finds no
positive waits for one that arrives later; until then it has no effect.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from narrows.columns import EVENT_TIME, EVENT_TYPE, INGESTED_AT, ITEM, KIND, SESSION, USER, WEIGHT
from narrows.kinds import KINDS, POSITIVE, UNDO
from narrows.store.table import Table

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

SECOND = "second"
"""When an event happened, in seconds since 1970."""
KNOWN_AT = "known_at"
"""When it had both happened and arrived, in seconds since 1970."""
UNDONE_AT = "undone_at"
"""Of a cancelled positive: when its undo happened, in seconds since 1970."""
UNDONE_KNOWN = "undone_known"
"""Of a cancelled positive: when it was known to be cancelled, in seconds since 1970."""
ORDER = (EVENT_TYPE, SESSION)
"""What orders the rows of one user, item and instant."""


def matches(pairs: Sequence[Any], seconds: Sequence[float], undo: Sequence[bool]) -> list[tuple[int, int]]:
    """The positives that an undo cancels, as (row of the positive, row of the undo).

    Args:
        pairs: of each row its user and item; the rows of one pair stand together, in the order in which they became known.
        seconds: when each happened.
        undo: whether it is an undo, else a positive.
    """
    found: list[tuple[int, int]] = []
    open_positives: list[tuple[float, int]] = []
    waiting: list[tuple[float, int]] = []
    pair: Any = None
    for row, (of, second, is_undo) in enumerate(zip(pairs, seconds, undo, strict=True)):
        if row == 0 or of != pair:
            pair, open_positives, waiting = of, [], []
        if is_undo:
            at = bisect_right(open_positives, (second, row)) - 1
            if at >= 0:
                found.append((open_positives.pop(at)[1], row))
            else:
                insort(waiting, (second, row))
        else:
            at = bisect_left(waiting, (second, -1))
            if at < len(waiting):
                found.append((row, waiting.pop(at)[1]))
            else:
                insort(open_positives, (second, row))
    return found


def with_undone(rows: pl.DataFrame) -> pl.DataFrame:
    """``rows`` with ``undone_at`` and ``undone_known``, null but for positives that an undo cancels.

    Args:
        rows: user_id, item_id, ``kind``, ``second``, ``known_at``, event_type and session_id; all rows of the users or of
            the items that are in it. Rows of other kinds and of none may be among them.
    """
    import polars as pl

    pair = [USER, ITEM]
    undos = rows.filter(pl.col(KIND) == UNDO).select(pair).unique()
    nothing = pl.lit(None, pl.Float64)
    if undos.is_empty():
        return rows.with_columns(nothing.alias(UNDONE_AT), nothing.alias(UNDONE_KNOWN))
    rows = rows.with_row_index("row")
    some = rows.filter(pl.col(KIND).is_in([POSITIVE, UNDO])).join(undos, pair, "semi")
    some = some.with_columns(undo=pl.col(KIND) == UNDO).sort(*pair, KNOWN_AT, SECOND, "undo", *ORDER)
    number = some.select(pl.struct(pair).rle_id()).to_series().to_list()
    found = matches(number, some[SECOND].to_list(), some["undo"].to_list())
    positive, undo = [one for one, _ in found], [other for _, other in found]
    cancelled = pl.DataFrame(
        {
            "row": some["row"][positive],
            UNDONE_AT: some[SECOND][undo].cast(pl.Float64),
            UNDONE_KNOWN: pl.Series([max(pair) for pair in zip(some[KNOWN_AT][positive], some[KNOWN_AT][undo], strict=True)], dtype=pl.Float64),
        }
    )  # fmt: skip
    return rows.join(cancelled, "row", "left", maintain_order="left").drop("row")


def kinds_in(table: Table) -> set[str]:
    """The kinds of events that a table may hold: those that its notes count, where they do."""
    return set(table.notes.get("kinds", KINDS)) if KIND in table.columns else {POSITIVE}


def positives(table: Table, columns: list[str], where: Any = None) -> pa.Table:
    """The positives that nothing cancelled, as the as-of of the table knows it; of a table without kinds all rows.

    Args:
        table: events.
        columns: what is read.
        where: a dataset filter over these columns and the event's time.
    """
    import polars as pl
    import pyarrow as pa
    import pyarrow.dataset as ds

    if KIND not in table.columns:
        return table.arrow(columns, where)
    positive = ds.field(KIND) == POSITIVE
    if UNDO not in kinds_in(table):
        return table.arrow(columns, positive if where is None else positive & where)
    rows, frame = _with_undone(table, columns)
    left = frame.select((pl.col(KIND) == POSITIVE) & pl.col(UNDONE_AT).is_null()).to_series()
    rows = rows.filter(pa.array(left.to_list(), pa.bool_()))
    return (rows if where is None else rows.filter(where)).select(columns).combine_chunks()


def _with_undone(table: Table, columns: Sequence[str]) -> tuple[pa.Table, pl.DataFrame]:
    """The positives and undo events of a table with these columns, and the same rows as `with_undone` has them."""
    import polars as pl
    import pyarrow.dataset as ds

    needed = [USER, ITEM, KIND, EVENT_TIME, INGESTED_AT, *ORDER]
    rows = table.arrow([*dict.fromkeys([*columns, *needed])], ds.field(KIND).isin([POSITIVE, UNDO]))
    frame = pl.DataFrame(pl.from_arrow(rows.select(needed)))
    happened, known = pl.col(EVENT_TIME), pl.max_horizontal(EVENT_TIME, INGESTED_AT)
    instants = {SECOND: happened.dt.epoch("us") / 1e6, KNOWN_AT: known.dt.epoch("us") / 1e6}
    return rows, with_undone(frame.with_columns(**instants))


def positives_here(table: Table, where: Any = None) -> pl.DataFrame:
    """The rows of `positives_in_spark`, in memory.

    ``where``, a dataset filter, may leave out what happened at other times; where there are undo events all are read.
    """
    import polars as pl
    import pyarrow.dataset as ds

    kinds = kinds_in(table)
    if UNDO in kinds:
        rows, frame = _with_undone(table, [WEIGHT])
        frame = frame.with_columns(pl.Series(WEIGHT, rows[WEIGHT])).filter(pl.col(KIND) == POSITIVE)
    else:
        positive = ds.scalar(True) if kinds == {POSITIVE} else ds.field(KIND) == POSITIVE
        weight = [WEIGHT] if WEIGHT in table.columns else []
        rows = table.arrow([USER, ITEM, EVENT_TIME, *weight], positive if where is None else positive & where)
        frame = pl.DataFrame(pl.from_arrow(rows))
        frame = frame if weight else frame.with_columns(pl.lit(1.0, pl.Float32).alias(WEIGHT))
        second = pl.col(EVENT_TIME).dt.epoch("us") / 1e6
        frame = frame.with_columns(second.alias(SECOND), pl.lit(None, pl.Float64).alias(UNDONE_AT))
    return frame.select(USER, ITEM, WEIGHT, SECOND, UNDONE_AT)


def cancellations(rows: DataFrame) -> DataFrame:
    """Every positive and undo of a frame of events, by user and item, with the columns of `with_undone`."""
    from pyspark.sql import functions as F

    happened = F.col(EVENT_TIME).cast("double")
    known = F.greatest(EVENT_TIME, INGESTED_AT).cast("double")
    some = rows.where(F.col(KIND).isin(POSITIVE, UNDO)).select(
        USER, ITEM, KIND, *ORDER, WEIGHT, happened.alias(SECOND), known.alias(KNOWN_AT)
    )
    schema = ", ".join(
        [*(f"{name} {kind}" for name, kind in some.dtypes), f"{UNDONE_AT} double", f"{UNDONE_KNOWN} double"]
    )
    return some.repartition(USER, ITEM).mapInArrow(_marked, schema)


def positives_in_spark(table: Table, session: SparkSession) -> DataFrame:
    """Positives as the as-of of the table knows them: user_id, item_id, ``weight``, ``second`` and ``undone_at``.

    Cancelled ones are among them; of a table without kinds all rows have weight 1.
    """
    from pyspark.sql import functions as F

    rows, kinds = table.spark(session), kinds_in(table)
    if UNDO in kinds:
        taken = cancellations(rows).where(F.col(KIND) == POSITIVE)
        return taken.select(USER, ITEM, WEIGHT, SECOND, UNDONE_AT)
    weight = F.col(WEIGHT) if WEIGHT in rows.columns else F.lit(1.0).cast("float").alias(WEIGHT)
    rows = rows if kinds == {POSITIVE} else rows.where(F.col(KIND) == POSITIVE)
    second = F.col(EVENT_TIME).cast("double").alias(SECOND)
    return rows.select(USER, ITEM, weight, second, F.lit(None).cast("double").alias(UNDONE_AT))


def unmatched(rows: DataFrame) -> int:
    """How many undo events of a frame of events have no positive to cancel."""
    from pyspark.sql import functions as F

    is_undo, is_cancelled = F.count_if(F.col(KIND) == UNDO), F.count(UNDONE_AT)
    return int(cancellations(rows).agg(is_undo - is_cancelled).collect()[0][0] or 0)


def _marked(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    import polars as pl
    import pyarrow as pa

    from narrows.engine.histories import plain

    if given := list(batches):
        rows = pl.DataFrame(pl.from_arrow(pa.Table.from_batches(given)))
        yield from plain(with_undone(rows).to_arrow()).combine_chunks().to_batches()
