"""Narrowing: shards of users in, kept and removed candidates out; staged room by room or fused in memory."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from narrows.asof import Asof
from narrows.columns import KEPT, REASON, REQUEST_WEIGHT, SHADOW_SCORE, USER
from narrows.pipeline import Pipeline
from narrows.stage import Narrowed, NarrowingStage, Shard, Stage, Table

if TYPE_CHECKING:
    import pyarrow as pa


LAST_EVENT = "days_since_last_event"
"""The column of a users' table that says when a user was active last; a table without it has no audience."""
Span = tuple[int, int]
"""Rows of a table: from the first on, up to but without the last."""


def shards(
    pipeline: Pipeline, room: NarrowingStage, tables: dict[str, Table], asof: Asof, size: int, who: Any = None
) -> Iterator[Shard]:
    """Cut the users into shards of ``size``, each with its candidates of the room before, if there is one.

    ``who`` is a dataset filter of the users' table: those that the room before narrowed.
    """
    import pyarrow.dataset as ds

    items, before = tables[room.items].arrow(), pipeline.before(room.name)
    of_items: dict[str, Any] = {}
    for number, users in enumerate(user_shards(tables[room.users], size, who)):
        candidates = received(tables[before].part(number, ds.field(KEPT))) if before else None
        yield Shard(users, items, candidates, asof, of_items)


def user_shards(users: Table, size: int, who: Any = None) -> Iterator[pa.Table]:
    """The rows of the users' table in its order, ``size`` at a time; one shard without rows where there are none.

    They are read batch by batch, so that only a shard of them is in memory.
    """
    import pyarrow as pa

    waiting: list[pa.RecordBatch] = []
    held, given = 0, 0
    for batch in users.batches(where=who):
        waiting.append(batch)
        held += batch.num_rows
        while held >= size:
            rows = pa.Table.from_batches(waiting)
            yield rows.slice(0, size).combine_chunks()
            held, given = held - size, given + 1
            waiting = rows.slice(size).to_batches()
    if held or not given:
        schema = users.dataset().schema
        yield (pa.Table.from_batches(waiting, schema) if waiting else schema.empty_table()).combine_chunks()


def spans(users: Table, size: int, who: Any = None) -> list[Span]:
    """The rows of the users' table from which `user_shards` cuts each of its shards: ``[start, stop)``, counted in the table's order.

    Of the table only what ``who`` may ask for is read, the id and the last event, batch by batch.
    """
    import numpy as np
    import pyarrow as pa

    found, held, begins, last, before = [], 0, 0, 0, 0
    columns = [name for name in (USER, LAST_EVENT) if name in users.columns]
    for batch in users.batches(columns):
        numbered = pa.table(batch).append_column("row", pa.array(np.arange(before, before + batch.num_rows)))
        rows = (numbered if who is None else numbered.filter(who))["row"].to_numpy()
        before += batch.num_rows
        while len(rows):
            begins = begins if held else int(rows[0])
            some, rows = rows[: size - held], rows[size - held :]
            held, last = held + len(some), int(some[-1]) + 1
            if held == size:
                found.append((begins, last))
                held = 0
    if held or not found:
        found.append((begins, last))
    return found


def received(kept: pa.Table) -> pa.Table:
    """What the next room sees of the survivors: not the log's own columns."""
    log = (KEPT, REASON, REQUEST_WEIGHT, SHADOW_SCORE)
    return kept.drop_columns([name for name in log if name in kept.column_names]).combine_chunks()


def fuse(
    rooms: list[tuple[NarrowingStage, Any]], shard: Shard, spent: dict[str, float] | None = None
) -> list[Narrowed]:
    """All narrowing rooms, with their models, over one shard in memory; what each of them did.

    ``spent`` is given the CPU seconds of this process by room.
    """
    done = []
    for room, model in rooms:
        started = time.process_time()
        done.append(check(room, shard, room.narrow(model, shard)))
        shard = replace(shard, candidates=received(done[-1].survivors))
        if spent is not None:
            spent[room.name] = time.process_time() - started
    return done


def flow(narrowed: Narrowed, requests: pa.Table | None = None, removed: bool = True) -> pa.Table:
    """Surviving rows, and with ``removed`` the removed ones, as one table with ``kept`` and ``reason``: the log of what the room did.

    Of a flow sample, ``requests``, also with the user's ``request_weight``, null for a user outside it.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    kept = narrowed.survivors
    if REASON not in kept.column_names:
        kept = kept.append_column(REASON, pa.nulls(kept.num_rows, pa.string()))
    parts = [(kept, True), *([(narrowed.removed, False)] if removed else [])]
    tables = [part.append_column(KEPT, pa.repeat(flag, part.num_rows)) for part, flag in parts]
    rows = pa.concat_tables(tables, promote_options="permissive").combine_chunks()
    if requests is None:
        return rows
    at = pc.index_in(rows[USER], value_set=requests[USER].combine_chunks())
    return rows.append_column(REQUEST_WEIGHT, requests[REQUEST_WEIGHT].combine_chunks().take(at.combine_chunks()))


def check(room: Stage, shard: Shard, narrowed: Narrowed) -> Narrowed:
    """Kept + removed = received, and every removed or added row has a reason.

    Raises:
        AssertionError: the room lost candidates, or invented some that it does not call added.
    """
    out = narrowed.kept.num_rows + narrowed.removed.num_rows
    if shard.candidates is not None and shard.candidates.num_rows != out:
        raise AssertionError(f"{room.name} received {shard.candidates.num_rows} candidates and accounts for {out}")
    if narrowed.removed.num_rows and narrowed.removed[REASON].null_count:
        raise AssertionError(f"{room.name} removed candidates without a reason")
    if narrowed.added is not None and narrowed.added[REASON].null_count:
        raise AssertionError(f"{room.name} added candidates without a reason")
    return narrowed
