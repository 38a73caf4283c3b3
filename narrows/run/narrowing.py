"""Narrowing: shards of users in, kept and removed candidates out; staged room by room or fused in memory."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import TYPE_CHECKING, Any

from narrows.columns import KEPT, REASON
from narrows.stage import Narrowed, NarrowingStage, Shard, Stage, Table, load_room
from narrows.store.write import part_name
from stages import PIPELINE

if TYPE_CHECKING:
    import pyarrow as pa

SHARD_USERS = 5000
"""Users narrowed at once; a shard is one file of a narrowing room's table."""


def narrowing_rooms() -> list[str]:
    """The names of the rooms that narrow, in order."""
    return [name for name in PIPELINE if issubclass(load_room(name), NarrowingStage)]


def room_before(name: str) -> list[str]:
    """The narrowing room whose survivors this one receives: a list of one name, or of none."""
    rooms = narrowing_rooms()
    return rooms[: rooms.index(name)][-1:]


def shards(tables: dict[str, Table], asof: date) -> Iterator[Shard]:
    """Cut the users into shards of SHARD_USERS, each with its candidates of the room before, if there is one."""
    import pyarrow.dataset as ds
    import pyarrow.parquet as pq

    users, items = tables["user_profiles"].arrow(), tables["item_profiles"].arrow()
    before = next((tables[name] for name in narrowing_rooms() if name in tables), None)
    for number, start in enumerate(range(0, max(users.num_rows, 1), SHARD_USERS)):
        candidates = None
        if before is not None:
            part = pq.read_table(before.path / "data" / part_name(number), filters=ds.field(KEPT))
            candidates = received(part)
        yield Shard(users.slice(start, SHARD_USERS).combine_chunks(), items, candidates, asof)


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
