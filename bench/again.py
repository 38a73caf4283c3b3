"""``python -m bench.again ASOF``: what parts of a finished run cost when they are done again in one process.

Of the run as of ASOF (``NARROWS_FILE``, ``NARROWS_STORE__ROOT``): the fused pass of some users on one core, its lists into a new SQLite file,
and its evaluation, each ``--runs`` times. Nothing is published. Prints Markdown.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from bench import machine
from narrows.asof import Asof
from narrows.run.fused import Pass, open_pass
from narrows.run.narrowing import fuse
from narrows.run.runner import Runner
from narrows.settings import load_settings
from narrows.stage import Recent, Shard


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.again", description=__doc__)
    parser.add_argument("asof")
    parser.add_argument("--users", type=int, default=2000, help="of the fused pass")
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    runner = Runner(load_settings())
    asof = runner.settings.asof(args.asof)
    print(f"Machine: {machine.processor()}. Median (least to most) of {args.runs}.\n\n| what | |\n|---|---|")
    for room, spent in passes(runner, asof, args.users, args.runs).items():
        print(f"| {room}, CPU ms a user of {args.users:,} | {machine.Times(tuple(spent)).per(args.users, 1e3)} |")
    for name, work in (("lists into SQLite", published), ("evaluation", judged)):
        print(
            f"| {name}, s | {machine.Times(tuple(seconds(work, runner, asof) for _ in range(args.runs))).per(1)} |",
            flush=True,
        )


def passes(runner: Runner, asof: Asof, count: int, runs: int) -> dict[str, list[float]]:
    """CPU seconds of each narrowing room, on one core, of the first users; the first pass is left out."""
    store = runner.store
    rooms = [room.name for room in runner.pipeline.rooms if hasattr(room, "narrow")]
    models: Any = [(name, store.current(f"{name}.model", asof)) for name in rooms]
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    work = Pass(runner.settings, models, table(runner, "item_profiles", asof), None, asof, Path())
    opened, users = open_pass(work), table(runner, "user_profiles", asof).rows_between(0, count)
    found: dict[str, list[float]] = {name: [] for name in rooms}
    for number in range(runs + 1):
        spent: dict[str, float] = {}
        fuse(opened.rooms, Shard(users, opened.items, None, asof, opened.of_items, logged=False), spent)
        for name in rooms if number else []:
            found[name].append(spent[name])
    os.sched_setaffinity(0, cores)
    return found


def published(runner: Runner, asof: Asof) -> None:
    """The lists into a database of their own."""
    with tempfile.TemporaryDirectory() as folder:
        settings: Any = SimpleNamespace(serving_url=f"sqlite:///{folder}/lists.db", pipeline=runner.settings.pipeline)
        draft, rerank = (table(runner, name, asof) for name in ("recommendations", "rerank"))
        runner.room("recommendations").publish(draft, rerank=rerank, settings=settings, asof=asof)


def judged(runner: Runner, asof: Asof) -> None:
    """The evaluation of the lists."""
    flow = {room.name: table(runner, room.name, asof) for room in runner.pipeline.rooms if hasattr(room, "narrow")}
    items = {each: runner.store.current("item_profiles", each) for each in (asof, asof - runner.horizon)}
    runner.room("evaluation").transform(
        table(runner, "recommendations", asof), flow, table(runner, "user_profiles", asof),
        Recent({each: known for each, known in items.items() if known}),
        table(runner, "events", asof + runner.horizon).truth(asof), asof=asof, horizon=runner.horizon,
    )  # fmt: skip


def table(runner: Runner, name: str, asof: Asof) -> Any:
    """A current partition.

    Raises:
        SystemExit: there is none.
    """
    if found := runner.store.current(name, asof):
        return found
    raise SystemExit(f"there is no {name} of {asof}: run narrows run --asof {asof} first.")


def seconds(work: Callable[[Runner, Asof], None], runner: Runner, asof: Asof) -> float:
    """Of one piece of work."""
    began = time.perf_counter()
    work(runner, asof)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
