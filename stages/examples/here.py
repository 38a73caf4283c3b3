"""Examples of logs that one process holds: the rows of `stages.examples.assemble`, without Spark (docs/decisions/0029)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
from xxhash import xxh64_intdigest

from narrows.columns import (
    ASOF,
    EVENT_TIME,
    ITEM,
    KEPT,
    KIND,
    LABEL,
    LABEL_WEIGHT,
    POSITION,
    PROPENSITY,
    REASON,
    REQUEST_WEIGHT,
    STAGE_REACHED,
    USER,
    WEIGHT,
)
from narrows.engine import here
from narrows.engine.histories import plain
from narrows.engine.memory import give_back
from narrows.engine.undo import SECOND, UNDONE_AT, kinds_in, positives_here
from narrows.kinds import EXPOSURE, POSITIVE
from narrows.stage import Asof, Table
from stages.examples.featured import featured

if TYPE_CHECKING:
    from stages.examples import Examples
    from stages.examples.assemble import Flow

MOST_ROWS = 4_000_000
"""Candidates of an as-of up to which one process takes them, batch by batch; it keeps those that are sampled."""
ROWS_AT_ONCE = 20_000
"""Examples that get their features at once."""
EXPOSED = "exposed"
"""The stage reached of what was shown by the product, whether or not the cascade offered it."""
STEPS = 1 << 20
"""Resolution of the sampling hash."""
SEED = 42
"""Of Spark's ``xxhash64``."""
PAIR = [USER, ITEM]


def fits(events: Table, flows: dict[Asof, Flow]) -> bool:
    """Whether the log and the candidates of every as-of are few enough for one process."""
    return here.fits(events) and all(_narrowed(flow).rows <= MOST_ROWS for flow in flows.values())


@dataclass(frozen=True)
class Assembled:
    """The rows of `assemble`, one as-of at a time."""

    events: Table
    profiles: dict[Asof, tuple[Table, Table]]
    flows: dict[Asof, Flow]
    room: Examples
    horizon: timedelta
    plugins: tuple[str, ...] = ()
    folder: str = ""

    def save(self, folder: Path) -> None:
        """Write below ``asof=<partition>``, in order of user and item."""
        begin, end = min(self.flows).end, (max(self.flows) + self.horizon).end
        taken = positives_here(self.events, _between(begin, end))
        columns = self._columns()
        work = featured(self.profiles, columns.names, self.horizon, self.plugins, self.folder)
        for asof in self.flows:
            nothing = pl.DataFrame(pl.from_arrow(columns.empty_table()))
            found = self._sampled(asof, labels(taken, asof, self.horizon))
            rows = plain(pl.concat([nothing, *found], how="diagonal").sort(*PAIR).to_arrow()).combine_chunks()
            del found
            give_back()
            work(iter(rows.to_batches(ROWS_AT_ONCE)), folder)

    def _columns(self) -> pa.Schema:
        """Those of all as-ofs, in the order in which Spark gives them; the features follow."""
        flows = pa.unify_schemas([_narrowed(flow).dataset().schema for flow in self.flows.values()])
        given = {field.name: field.type for field in flows if field.name not in (KEPT, REASON, USER, ITEM)}
        shown = {POSITION: pa.int32(), PROPENSITY: pa.float64()} if EXPOSURE in kinds_in(self.events) else {}
        return pa.schema({
            **dict.fromkeys((ASOF, USER, ITEM), pa.string()), **given, STAGE_REACHED: pa.string(), **shown,
            LABEL_WEIGHT: pa.float32(), LABEL: pa.int32(), WEIGHT: pa.float32(),
        })  # fmt: skip

    def _sampled(self, asof: Asof, taken: pl.DataFrame) -> list[pl.DataFrame]:
        """The examples of an as-of without their features, in pieces."""
        shown = exposed(self.events, self.profiles[asof], asof, self.horizon)
        found, offered_too = [], []
        for rows in offered(self.flows[asof]):
            if shown is not None:
                rows = rows.join(shown, PAIR, "left", maintain_order="left")
                is_shown = pl.col("shown").is_not_null()
                offered_too.append(rows.filter(is_shown).select(PAIR))
                rows = rows.with_columns(_reached(is_shown, EXPOSED)).drop("shown")
            found.append(sample(rows, taken, asof, self.room))
        if shown is not None:
            rest = shown.join(pl.concat(offered_too), PAIR, "anti") if offered_too else shown
            rest = rest.drop("shown").with_columns(pl.lit(EXPOSED).alias(STAGE_REACHED))
            found.append(sample(rest, taken, asof, self.room))
        return found


def _narrowed(flow: Flow) -> Table:
    """Of the tables of a flow the one whose rows are the candidates: pre-rank's, where it has narrowed them."""
    recall, prerank, _, _ = flow
    return recall if prerank is None else prerank


def _reached(condition: pl.Expr, stage: str) -> pl.Expr:
    return pl.when(condition).then(pl.lit(stage)).otherwise(STAGE_REACHED).alias(STAGE_REACHED)


def _between(begin: datetime, end: datetime) -> ds.Expression:
    kind = pa.timestamp("us", "UTC")
    return (ds.field(EVENT_TIME) >= pa.scalar(begin, kind)) & (ds.field(EVENT_TIME) < pa.scalar(end, kind))


def offered(flow: Flow) -> Iterator[pl.DataFrame]:
    """The rows of `assemble.offered`, batch by batch."""
    base, (_, prerank, rank, rerank) = _narrowed(flow), flow
    later = [(stage, _kept(table)) for stage, table in (("rank", rank), ("rerank", rerank)) if table]
    for batch in base.batches(where=ds.field(KEPT) if prerank is None else None):
        rows = pl.DataFrame(pl.from_arrow(pa.table(batch))).with_columns(pl.lit("recall").alias(STAGE_REACHED))
        if prerank is not None:
            rows = rows.with_columns(_reached(pl.col(KEPT), "prerank"))
        rows = rows.drop(KEPT, REASON)
        for stage, kept in later:
            rows = rows.join(kept, PAIR, "left", maintain_order="left")
            rows = rows.with_columns(_reached(pl.col("got").is_not_null(), stage)).drop("got")
        yield rows


def _kept(table: Table) -> pl.DataFrame:
    """The pairs that a room kept, of the flow sample where there is one."""
    has_sample = REQUEST_WEIGHT in table.columns
    where = ds.field(KEPT) & ds.field(REQUEST_WEIGHT).is_valid() if has_sample else ds.field(KEPT)
    return pl.DataFrame(pl.from_arrow(table.arrow(PAIR, where))).with_columns(got=True)


def exposed(events: Table, profiles: tuple[Table, Table], asof: Asof, horizon: timedelta) -> pl.DataFrame | None:
    """The rows of `assemble.exposed` of an as-of, with ``shown``; None where the log has no exposures."""
    if EXPOSURE not in kinds_in(events):
        return None
    placed = (ds.field(KIND) == POSITIVE) & (ds.field(POSITION).is_valid() | ds.field(PROPENSITY).is_valid())
    inside = _between(asof.end, (asof + horizon).end)
    rows = events.arrow([*PAIR, EVENT_TIME, POSITION, PROPENSITY], inside & ((ds.field(KIND) == EXPOSURE) | placed))
    shown = pl.DataFrame(pl.from_arrow(rows)).sort(
        EVENT_TIME, POSITION, PROPENSITY
    )  # nulls first, as in Spark's structs
    shown = shown.group_by(PAIR, maintain_order=True).first().drop(EVENT_TIME).with_columns(shown=True)
    for key, table in zip(PAIR, profiles, strict=True):
        shown = shown.join(pl.DataFrame(pl.from_arrow(table.arrow([key]))), key, "semi")
    return shown


def labels(taken: pl.DataFrame, asof: Asof, horizon: timedelta) -> pl.DataFrame:
    """The rows of `assemble.labels` of an as-of; ``taken``: those of `positives_here`."""
    begin, end = asof.end.timestamp(), (asof + horizon).end.timestamp()
    inside = (pl.col(SECOND) >= begin) & (pl.col(SECOND) < end)
    stands = pl.col(UNDONE_AT).is_null() | (pl.col(UNDONE_AT) >= end)
    rows = taken.filter(inside & stands).group_by(PAIR).agg(pl.col(WEIGHT).max().alias(LABEL_WEIGHT))
    return rows.with_columns(pl.lit(1, pl.Int32).alias(LABEL))


def sample(rows: pl.DataFrame, taken: pl.DataFrame, asof: Asof, room: Examples) -> pl.DataFrame:
    """Rows with their labels and weights: the positives, and of the negatives those that `assemble.sample` draws."""
    rows = rows.join(taken, PAIR, "left", maintain_order="left")
    rows = rows.with_columns(
        pl.lit(str(asof)).alias(ASOF), pl.col(LABEL).fill_null(0), pl.col(LABEL_WEIGHT).fill_null(1.0)
    )
    shares = {"recall": room.negative_share, EXPOSED: room.exposed_share}
    share = pl.col(STAGE_REACHED).replace_strict(shares, default=room.hard_share, return_dtype=pl.Float64)
    is_positive = pl.col(LABEL) == 1
    weight = pl.when(is_positive).then(1.0).otherwise(1.0 / share).cast(pl.Float32).alias(WEIGHT)
    hashed = pl.Series(hashes(rows[USER].to_list(), rows[ITEM].to_list(), str(asof)))
    return rows.with_columns(weight).filter(is_positive | ((hashed % STEPS) < share * STEPS))


def hashes(users: Sequence[str], items: Sequence[str], asof: str) -> np.ndarray:
    """Spark's ``xxhash64(user, item, asof)`` of each row, as uint64 (rows,)."""
    of_user = {user: xxh64_intdigest(user.encode(), SEED) for user in set(users)}
    as_bytes, last = {item: item.encode() for item in set(items)}, asof.encode()
    found = [
        xxh64_intdigest(last, xxh64_intdigest(as_bytes[item], of_user[user]))
        for user, item in zip(users, items, strict=True)
    ]
    return np.array(found, np.uint64)
