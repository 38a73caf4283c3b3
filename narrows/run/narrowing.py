"""Narrowing: shards of users in, kept and removed candidates out; staged room by room or fused in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from narrows.asof import Asof
from narrows.columns import KEPT, REASON
from narrows.pipeline import Pipeline
from narrows.stage import Narrowed, NarrowingStage, Shard, Stage, Table

if TYPE_CHECKING:
    import pyarrow as pa


def shards(
    pipeline: Pipeline, room: NarrowingStage, tables: dict[str, Table], asof: Asof, size: int
) -> Iterator[Shard]:
    """Cut the users into shards of ``size``, each with its candidates of the room before, if there is one."""
    import pyarrow.dataset as ds

    users, items = tables[room.users].arrow(), tables[room.items].arrow()
    before = pipeline.before(room.name)
    for number, start in enumerate(range(0, max(users.num_rows, 1), size)):
        candidates = received(tables[before].part(number, ds.field(KEPT))) if before else None
        yield Shard(users.slice(start, size).combine_chunks(), items, candidates, asof)


def received(kept: pa.Table) -> pa.Table:
    """What the next room sees of the survivors: not the log's own columns."""
    return kept.drop_columns([name for name in (KEPT, REASON) if name in kept.column_names]).combine_chunks()


def fuse(rooms: list[tuple[NarrowingStage, Any]], shard: Shard) -> list[Narrowed]:
    """All narrowing rooms, with their models, over one shard in memory; what each of them did."""
    done = []
    for room, model in rooms:
        done.append(check(room, shard, room.narrow(model, shard)))
        shard = Shard(shard.users, shard.items, received(done[-1].survivors), shard.asof)
    return done


def flow(narrowed: Narrowed) -> pa.Table:
    """Surviving and removed rows as one table with ``kept`` and ``reason``: the log of what the room did."""
    import pyarrow as pa

    kept, removed = narrowed.survivors, narrowed.removed
    if REASON not in kept.column_names:
        kept = kept.append_column(REASON, pa.nulls(kept.num_rows, pa.string()))
    both = [
        t.append_column(KEPT, pa.array([flag] * t.num_rows, pa.bool_())) for t, flag in ((kept, True), (removed, False))
    ]
    return pa.concat_tables(both, promote_options="permissive").combine_chunks()


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
