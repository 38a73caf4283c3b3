"""Writing a world: the log, purchases alone, items, users, the truth and a ``narrows.toml``."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, fields
from datetime import datetime
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from narrows.world.items import Catalogue, catalogue
from narrows.world.log import KINDS, PURCHASE, day_of_log, schema
from narrows.world.policy import estimate
from narrows.world.settings import World, WorldError
from narrows.world.truth import FOLDER, USERS, Truth, read_items
from narrows.world.users import Users, users

LOG, PURCHASES, ITEMS_FILE, USERS_FILE, SETTINGS_FILE = (
    "log", "purchases", "items.parquet", "users.parquet", "narrows.toml",
)  # fmt: skip
DRAFT = ".world-draft"
CELLS_AT_ONCE = 655_360
"""A block of users has about so many shown items and subcategories of sessions a day: they fit the processor's cache."""
MOST_USERS_AT_ONCE = 65_536
ROW_GROUP = 1_000_000
BYTES_A_ROW = 12
"""Somewhat more than a row takes on disk."""
SETTINGS_TEXT = """# A generated world. What is true of it lies in truth/; the equations stand in docs/world.md.
[source]
name = "files"
events = "purchases/*.parquet"    # every row is a positive; log/*.parquet has the impressions, views, carts and returns too
items = "items.parquet"
users = "users.parquet"
horizon = "7d"
grain = "day"

# Where a source may say what each event type means, the whole log can be read, with events = "log/*.parquet" and:
# [source.kinds]
# positive = ["purchase"]
# context = ["view", "cart"]
# exposure = ["impression"]
# undo = ["return"]
"""

Progress = Callable[[int, int], None]
"""Called with the rows and the users that are done."""


@dataclass(frozen=True)
class Written:
    """What was written."""

    rows: dict[str, int]
    """By kind of event."""
    seconds: float
    """Of making and writing the rows."""

    @property
    def total(self) -> int:
        return sum(self.rows.values())


def write(
    world: World, folder: Path, *, force: bool = False, block_users: int | None = None, workers: int | None = None,
    progress: Progress = lambda rows, users: None,
) -> Written:  # fmt: skip
    """Write a world; a draft beside the files takes their place once it is whole.

    Args:
        world: the settings.
        folder: where to.
        force: replace a world that is there.
        block_users: users that are made at once: it bounds the memory, and changes no row.
        workers: processes; by default one a core.
        progress: see `Progress`.

    Raises:
        WorldError: something else is there, or the disk has no room for it.
    """
    _check(world, folder, force)
    draft = folder / DRAFT
    shutil.rmtree(draft, ignore_errors=True)
    for part in (LOG, PURCHASES):
        (draft / part).mkdir(parents=True)
    items = catalogue(world)
    pq.write_table(items.table(world.begin), draft / ITEMS_FILE, compression="zstd")
    nobody = users(world, items, 0, 0)
    Truth(world, items, nobody).save_items(draft / FOLDER)
    _make_room(world, nobody, draft / FOLDER / USERS)
    started = time.perf_counter()
    counts = np.zeros(len(KINDS), np.int64)
    done = 0
    for size, counted in _blocks(world, items, draft, block_users or users_at_once(world), workers or cores()):
        counts += counted
        done += size
        progress(int(counts.sum()), done)
    seconds = time.perf_counter() - started
    _write_users(draft)
    (draft / SETTINGS_FILE).write_text(SETTINGS_TEXT, encoding="utf-8")
    _put_in_place(draft, folder)
    return Written(dict(zip(KINDS, counts.tolist(), strict=True)), seconds)


def users_at_once(world: World) -> int:
    """How many users a block has."""
    sessions = CELLS_AT_ONCE / (world.list_length + world.subcategories)
    return max(1, min(world.users, MOST_USERS_AT_ONCE, int(sessions / world.sessions_per_day)))


def rows_expected(world: World) -> float:
    """About how many rows the log will have."""
    sessions = world.users * (1 - world.new_users / 2) * world.days * world.sessions_per_day
    return sessions * (world.list_length + 2)


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0))


def _check(world: World, folder: Path, force: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise WorldError(f"{folder} is a file. Name a folder")
    there = [
        name for name in (SETTINGS_FILE, LOG, PURCHASES, ITEMS_FILE, USERS_FILE, FOLDER) if (folder / name).exists()
    ]
    if there and not force:
        raise WorldError(
            f"{folder / there[0]} is there already, and is kept. Replace it with --force, or name another folder"
        )
    if there and not (folder / FOLDER).exists():
        raise WorldError(f"{folder / there[0]} belongs to no generated world, and is kept. Name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    need, free = rows_expected(world) * BYTES_A_ROW, shutil.disk_usage(folder).free
    if need > free:
        raise WorldError(
            f"{folder} has {free / 1e9:.1f} GB free, and this world needs about {need / 1e9:.1f} GB. Take fewer users or days, or another disk"
        )


def _blocks(world: World, items: Catalogue, draft: Path, size: int, workers: int) -> Iterator[tuple[int, np.ndarray]]:
    """Make every block of users; yields the number of its users, and its rows by kind, as each is done."""
    spans = [(first, min(first + size, world.users)) for first in range(0, world.users, size)]
    if min(workers, len(spans)) == 1:
        for number, (first, end) in enumerate(spans):
            yield end - first, write_block(world, items, draft, number, first, end)
        return
    with ProcessPoolExecutor(min(workers, len(spans)), get_context("forkserver")) as pool:
        tasks = {
            pool.submit(_block_of, world, draft, number, first, end): end - first
            for number, (first, end) in enumerate(spans)
        }
        try:
            for task in as_completed(tasks):
                yield tasks[task], task.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _block_of(world: World, draft: Path, number: int, first: int, end: int) -> np.ndarray:
    """A block in a process of its own."""
    items = _catalogue_of.get(draft)
    if items is None:
        items = _catalogue_of[draft] = read_items(draft)
    return write_block(world, items, draft, number, first, end)


_catalogue_of: dict[Path, Catalogue] = {}
"""In a process that makes blocks: what it has read."""


def write_block(world: World, items: Catalogue, draft: Path, number: int, first: int, end: int) -> np.ndarray:
    """Make all days of the users from ``first`` to ``end``: a file of the log, one of purchases, their truth.

    Returns:
        The rows of the log by kind.
    """
    some = users(world, items, first, end)
    for name, column in some.columns().items():
        np.lib.format.open_memmap(draft / FOLDER / USERS / f"{name}.npy", "r+")[first:end] = column
    known, file = estimate(world, items, some), f"part-{number:05}.parquet"
    counts = np.zeros(len(KINDS), np.int64)
    with _writer(draft / LOG / file) as log, _writer(draft / PURCHASES / file) as bought:
        waiting: list[pa.Table] = []
        positives: list[pa.Table] = []
        for day in range(world.days):
            for table in day_of_log(world, items, some, known, day):
                rows = arrived(table, world.end)
                kinds = rows["event_type"].combine_chunks().indices.to_numpy()
                counts += np.bincount(kinds, minlength=len(KINDS))
                waiting.append(rows)
                if (kinds == PURCHASE).any():
                    positives.append(rows.filter(pa.array(kinds == PURCHASE)))
            if sum(table.num_rows for table in waiting) >= ROW_GROUP or day == world.days - 1:
                _write_group(log, waiting)
                _write_group(bought, positives)
    return counts


def _write_group(writer: pq.ParquetWriter, tables: list[pa.Table]) -> None:
    """Write what has gathered, and forget it."""
    if tables:
        writer.write_table(pa.concat_tables(tables), 2 * ROW_GROUP)
        tables.clear()


def arrived(table: pa.Table, end: datetime) -> pa.Table:
    """The rows that had arrived before an instant: a log has no others."""
    limit = pa.scalar(end, table.schema.field("ingested_at").type)
    if not table.num_rows or pc.max(table["ingested_at"]).as_py() < end:
        return table
    return table.filter(pc.less(table["ingested_at"], limit))


def _writer(file: Path) -> pq.ParquetWriter:
    return pq.ParquetWriter(file, schema(), compression="zstd", compression_level=1)


def _make_room(world: World, nobody: Users, place: Path) -> None:
    """Empty arrays for the truth of all users."""
    place.mkdir()
    for field in fields(Users):
        column = getattr(nobody, field.name)
        np.lib.format.open_memmap(place / f"{field.name}.npy", "w+", column.dtype, (world.users, *column.shape[1:]))


def _write_users(draft: Path, step: int = 1_000_000) -> None:
    """The file of users, out of their truth."""
    number = np.load(draft / FOLDER / USERS / "number.npy", mmap_mode="r")
    segment = np.load(draft / FOLDER / USERS / "segment.npy", mmap_mode="r")
    names = [f"segment {code + 1}" for code in range(int(segment.max()) + 1)]
    columns = pa.schema([("user_id", pa.int32()), ("segment", pa.dictionary(pa.int32(), pa.string()))])
    with pq.ParquetWriter(draft / USERS_FILE, columns, compression="zstd") as writer:
        for first in range(0, len(number), step):
            part = slice(first, first + step)
            named = pa.DictionaryArray.from_arrays(segment[part].astype(np.int32), names)
            writer.write_table(pa.table([pa.array(number[part].astype(np.int32)), named], schema=columns))


def _put_in_place(draft: Path, folder: Path) -> None:
    """Replace what an earlier world left, its truth last."""
    for new in sorted(draft.iterdir(), key=lambda path: path.name == FOLDER):
        old = folder / new.name
        if old.is_dir():
            shutil.rmtree(old)
        new.replace(old)
    draft.rmdir()
