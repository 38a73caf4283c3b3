"""Profiles of logs that one process holds: the rows of `narrows.engine.histories`, and their kernels, without Spark.

An hour's or a day's update of a log of some million events is over before a JVM has started (docs/decisions/0025).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from narrows.asof import EPOCH, KNOWN, Asof
from narrows.columns import (
    ASOF,
    AVAILABLE_AT,
    CONTEXT,
    EVENT_TIME,
    EVENT_TYPE,
    INGESTED_AT,
    ITEM,
    KIND,
    PRICE,
    SESSION,
    USER,
    VALUE,
)
from narrows.engine.histories import Scale, coded, earliest, joined_with, marked, plain
from narrows.engine.memory import give_back
from narrows.engine.sides import Side
from narrows.engine.spark import write_part
from narrows.engine.undo import KNOWN_AT, kinds_in
from narrows.kinds import EXPOSURE, POSITIVE
from narrows.stage import Table

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

    from narrows.engine.histories import Kernel

MOST_ROWS = 3_000_000
"""Events up to which one process has the log in memory: about a gigabyte with all that is made of them."""
ROWS_AT_ONCE = 400_000
"""Events, about, of the users or items whose profiles are made at once."""


def fits(log: Table) -> bool:
    """Whether a log is small enough for one process."""
    return 0 <= log.meta.get("rows", -1) <= MOST_ROWS


def dated(log: Table, asofs: Sequence[Asof], scale: Scale) -> pl.DataFrame:
    """The rows of `histories.dated`, in memory."""
    import polars as pl
    import pyarrow as pa
    import pyarrow.dataset as ds

    kinds, last = kinds_in(log), max(asofs)
    some = kinds != {POSITIVE}
    names = [USER, ITEM, EVENT_TIME, INGESTED_AT, VALUE, PRICE, CONTEXT, SESSION, *([KIND, EVENT_TYPE] if some else [])]
    known, near = log.known_at(last), ds.scalar(True)
    if begins := earliest(asofs, scale, kinds):
        folder = str(Asof.of_period((begins - EPOCH) // last.grain, last.grain))  # no row is known before it happens
        near = (ds.field(KNOWN) >= folder) & (ds.field(EVENT_TIME) >= pa.scalar(begins, pa.timestamp("us", "UTC")))
    rows = _typed(known.arrow(names, near & (ds.field(KIND) != EXPOSURE) if some else near), last, scale)
    if not some:
        return rows.drop(KNOWN_AT)
    if EXPOSURE not in kinds:
        return rows
    shown = known.arrow([USER, ITEM, EVENT_TIME, INGESTED_AT], near & (ds.field(KIND) == EXPOSURE))
    length, visit = (int(each.total_seconds() * 1_000_000) for each in (last.grain, scale.visit))
    at = pl.max_horizontal(EVENT_TIME, INGESTED_AT).dt.epoch("us").floordiv(length)
    # once is enough; where the past ends, once a visit
    begin = pl.col(EVENT_TIME).dt.epoch("us").floordiv(visit) * scale.visit.total_seconds()
    by = [USER, ITEM] if scale.reach is None else [USER, ITEM, begin.alias("second")]
    first = pl.DataFrame(pl.from_arrow(shown)).group_by(*by).agg(at.min().alias(KNOWN))
    return pl.concat([rows, first.with_columns(pl.lit(EXPOSURE).alias(KIND))], how="diagonal")


def _typed(table: pa.Table, last: Asof, scale: Scale) -> pl.DataFrame:
    import polars as pl

    second = pl.col(EVENT_TIME).dt.epoch("us") / 1e6
    at = pl.max_horizontal(EVENT_TIME, INGESTED_AT).dt.epoch("us") / 1e6
    known = (at / int(last.grain.total_seconds())).floor().cast(pl.Int64).alias(KNOWN)
    visit = (second / scale.visit.total_seconds()).floor().cast(pl.Int64).cast(pl.String)
    rows = pl.DataFrame(pl.from_arrow(table))
    rows = rows.with_columns(
        known, second.alias("second"), at.alias(KNOWN_AT), pl.coalesce(SESSION, visit).alias(SESSION)
    )
    return rows.drop(EVENT_TIME, INGESTED_AT)


def with_side(rows: pl.DataFrame, table: pa.Table) -> pl.DataFrame:
    """``rows`` and the side table's as well, each as one event that no as-of knows; `histories.with_side`."""
    import polars as pl

    side = pl.DataFrame(pl.from_arrow(table))
    if AVAILABLE_AT in side.columns:
        side = side.with_columns(pl.col(AVAILABLE_AT).dt.epoch("us") / 1e6)
    return pl.concat([rows, side.with_columns(pl.lit(None, pl.Int64).alias(KNOWN))], how="diagonal")


@dataclass(frozen=True)
class Profiles:
    """The rows of a kernel, some users or items at a time; see `histories.each_asof`."""

    rows: pl.DataFrame
    key: str
    side: Side
    asofs: list[Asof]
    scale: Scale
    kernel: Kernel

    def save(self, folder: Path) -> None:
        """Write below ``asof=<date>``, in order of the key."""
        sides = self.side.tables()
        for number, some in enumerate(self._pieces()):
            joined = joined_with(marked(some, self.asofs[0].grain), sides, self.scale)
            for asof, profiles in zip(self.asofs, self.kernel(coded(joined), self.asofs), strict=True):
                write_part(plain(profiles.to_arrow()), folder / f"{ASOF}={asof}", number)
            give_back()

    def _pieces(self) -> Iterator[pl.DataFrame]:
        """The rows of whole keys, in their order; one piece without rows where there are none."""
        import polars as pl

        if self.rows.is_empty():
            yield self.rows
            return
        counts = self.rows.group_by(self.key).len().sort(self.key)
        piece = (pl.col("len").cum_sum() - pl.col("len")) // ROWS_AT_ONCE
        pieces = self.rows.join(counts.select(self.key, piece=piece), self.key, "left", maintain_order="left")
        for number in counts.select(piece.unique().sort()).to_series().to_list():
            yield pieces.filter(pl.col("piece") == number).drop("piece")
