"""The fused pass: users through all narrowing rooms in memory, shard by shard, on all cores; only their lists are written."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from narrows.asof import Asof
from narrows.engine.cluster import THREADS
from narrows.run.narrowing import flow, fuse
from narrows.settings import Settings, import_plugins
from narrows.stage import Shard, Table
from narrows.store.table import part_name
from narrows.store.write import write_file

if TYPE_CHECKING:
    import pyarrow as pa

Counts = dict[str, int | float]
"""Of a pass or a shard: ``users``, rows ``received`` and ``kept`` by the last room; ``rows.ROOM`` received and ``cpu.ROOM`` seconds."""
FEW_SHARDS = 3
"""Up to so many shards are narrowed in this process: others take seconds to start."""


@dataclass(frozen=True)
class Pass:
    """All that narrowing a shard needs beside its users; a process of the pool receives it once."""

    settings: Settings
    models: list[tuple[str, Table | None]]
    """The narrowing rooms in order, and where each one's model is kept."""
    items: Table
    requests: pa.Table
    """The flow sample: it gives the rows their column, and has none of the users."""
    asof: Asof
    folder: Path
    """Where the parts are written."""


@dataclass
class Opened:
    """What a process opens once: the rooms with their models, and the catalogue."""

    rooms: list[tuple[Any, Any]]
    items: pa.Table
    of_items: dict[str, Any] = field(default_factory=dict)
    """What the rooms made of the catalogue for all shards; see `Shard.once`."""


def run(work: Pass, users: Iterator[pa.Table], first: int, processes: int) -> Counts:
    """Narrow shards of users, the part of the first being number ``first``; the rows do not depend on ``processes``.

    Raises:
        MemoryError: a process was killed.
    """
    head, total = [], zero(work)
    for shard in users:
        head.append(shard)
        if len(head) > FEW_SHARDS:
            break
    if len(head) <= FEW_SHARDS or processes < 2:
        opened = open_pass(work)
        for number, shard in enumerate(_chain(head, users), first):
            _add(total, narrow(work, opened, number, shard))
        return total
    try:
        with _pool(work, processes) as pool:
            waiting: deque[Future[Counts]] = deque()
            for number, shard in enumerate(_chain(head, users), first):
                waiting.append(pool.submit(_task, number, shard))
                while len(waiting) > processes:  # a shard is waiting for each that is narrowed, no more
                    _add(total, waiting.popleft().result())
            for future in waiting:
                _add(total, future.result())
    except BrokenProcessPool:
        raise MemoryError("a process that narrows was killed") from None
    return total


def _chain(head: list[pa.Table], rest: Iterator[pa.Table]) -> Iterator[pa.Table]:
    while head:
        yield head.pop(0)
    yield from rest


def zero(work: Pass) -> Counts:
    """The counts of no shard."""
    rooms = [name for name, _ in work.models]
    return dict.fromkeys(
        ["users", "received", "kept", *(f"{what}.{room}" for room in rooms for what in ("rows", "cpu"))], 0
    )


def _add(total: Counts, one: Counts) -> None:
    for name in total:
        total[name] += one[name]


@contextmanager
def _pool(work: Pass, processes: int) -> Iterator[ProcessPoolExecutor]:
    """Processes of one thread each: together they have all cores."""
    import multiprocessing

    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    context = multiprocessing.get_context("spawn")  # a fork would inherit the threads' locks
    pool = ProcessPoolExecutor(processes, context, _begin, (work,))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


_STATE: list[tuple[Pass, Opened]] = []
"""In a process of the pool: what it was given, and opened once."""


def _begin(work: Pass) -> None:
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks
    get_ready(work.settings.base)
    import_plugins(work.settings)
    _STATE.append((work, open_pass(work)))


def get_ready(base: Path) -> None:
    """Let a process of its own find a user's modules."""
    import sys

    if str(base) not in sys.path:
        sys.path.append(str(base))


def open_pass(work: Pass) -> Opened:
    """Load the models and the catalogue."""
    rooms = []
    for name, model in work.models:
        room: Any = work.settings.rooms[name]
        rooms.append((room, room.load(model.model_folder) if model else None))
    return Opened(rooms, work.items.arrow())


def _task(number: int, users: pa.Table) -> Counts:
    work, opened = _STATE[0]
    return narrow(work, opened, number, users)


def narrow(work: Pass, opened: Opened, number: int, users: pa.Table) -> Counts:
    """Narrow one shard and write its part."""
    shard = Shard(users, opened.items, None, work.asof, opened.of_items, logged=False)
    spent: dict[str, float] = {}
    done = fuse(opened.rooms, shard, spent)
    last = done[-1]
    write_file(flow(last, work.requests, removed=False), work.folder / part_name(number))
    rows = [each.kept.num_rows + each.removed.num_rows for each in done]
    counts: Counts = {"users": users.num_rows, "received": rows[-1], "kept": last.survivors.num_rows}
    for (room, _), number_of_rows in zip(opened.rooms, rows, strict=True):
        counts |= {f"rows.{room.name}": number_of_rows, f"cpu.{room.name}": spent[room.name]}
    return counts
