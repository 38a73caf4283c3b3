"""``python -m bench.world``: rows a second of writing a generated world, and what the seconds go to.

Writes to a temporary folder (``TMPDIR``), which is deleted. Prints Markdown: a part of docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import machine
from narrows.world import log, policy, sessions
from narrows.world.items import Catalogue, catalogue
from narrows.world.settings import World
from narrows.world.users import users
from narrows.world.write import users_at_once, write

RUNS = 5


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.world", description=__doc__)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--runs", type=int, default=RUNS)
    args = parser.parse_args()
    world = World(users=args.users, items=args.items, days=args.days)
    print(f"Machine: {machine.processor()}; {world.users:,} users, {world.items:,} items, {world.days} days.\n")
    print("| what | rows a second: median (least to most) | rows a second of processor time |\n|---|---|---|")
    for workers in (1, 2):
        rows, wall, processor = written(world, workers, args.runs)
        own = processor.rate(rows) if workers == 1 else ""  # the system does not tell us what other processes took
        print(f"| write, {workers} process{'es' * (workers > 1)}, {rows:,} rows | {wall.rate(rows)} | {own} |")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"\nPeak of this process, which does all of the first line: {peak / 1024:,.0f} MB.\n")
    parts(world, args.runs)


def written(world: World, workers: int, runs: int) -> tuple[int, machine.Times, machine.Times]:
    """The number of rows, and the seconds of writing them: by the clock, and of the processor."""
    rows, seconds, spent = 0, [], []
    for _ in range(runs):
        folder = Path(tempfile.mkdtemp())
        try:
            started, used = time.perf_counter(), sum(os.times()[:4])
            rows = write(world, folder, workers=workers).total
            seconds.append(time.perf_counter() - started)
            spent.append(sum(os.times()[:4]) - used)
        finally:
            shutil.rmtree(folder)
    return rows, machine.Times(tuple(seconds)), machine.Times(tuple(spent))


def parts(world: World, runs: int) -> None:
    """What a day of one block of users costs in one process, step by step."""
    items: Catalogue = catalogue(world)
    some = users(world, items, 0, min(world.users, users_at_once(world)))
    known, day = policy.estimate(world, items, some), world.days // 2
    visits = sessions.sessions(world, some, day)
    shelf = policy.shelf(world, items, day)
    lists = policy.show(world, shelf, known, visits.who, visits.random)
    tables = log.day_of_log(world, items, some, known, day)
    count = sum(table.num_rows for table in tables)
    steps: dict[str, Callable[[], Any]] = {
        "sessions": lambda: sessions.sessions(world, some, day),
        "what there is to show": lambda: policy.shelf(world, items, day),
        "lists with propensities": lambda: policy.show(world, shelf, known, visits.who, visits.random),
        "views": lambda: log.viewed(world, items, some, visits, lists, day),
        "all of the day": lambda: log.day_of_log(world, items, some, known, day),
        "Parquet": lambda: _encoded(tables),
    }
    print(f"| step of a day with {count:,} rows | nanoseconds a row: median (least to most) |\n|---|---|")
    for name, work in steps.items():
        print(f"| {name} | {machine.repeated(work, runs).per(count, 1e9)} |")


def _encoded(tables: list[Any]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.concat_tables(tables), pa.BufferOutputStream(), compression="zstd", compression_level=1)


if __name__ == "__main__":
    main()
