"""``python -m bench.cluster``: the whole line on a Spark cluster of two workers of this machine, beside ``local[2]``.

A generated world is run by configuration alone: in turns locally, and on a standalone cluster whose executors also
narrow. Prints Markdown, a part of docs/benchmarks.md, and says whether all tables are equal.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from bench import machine
from bench.standalone import cluster
from narrows.run.runner import Runner
from narrows.settings import load_settings
from narrows.world.settings import World
from narrows.world.write import write

OWN = ("release_id",)
"""Columns that name a run."""


class Run(NamedTuple):
    """A finished run of the line."""

    root: Path
    seconds: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.cluster", description=__doc__)
    parser.add_argument("--users", type=int, default=20_000)
    parser.add_argument("--items", type=int, default=2_000)
    parser.add_argument("--days", type=int, default=42)
    parser.add_argument(
        "--flow-users", type=int, default=2_000, help="whose flow is kept; the others are narrowed fused"
    )
    parser.add_argument("--runs", type=int, default=2)
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    try:
        write(World(users=args.users, items=args.items, days=args.days), folder / "world")
        with cluster(folder / "cluster") as master:
            measure(folder, master, args.runs, args.flow_users)
    finally:
        shutil.rmtree(folder)


def measure(folder: Path, master: str, runs: int, flow_users: int) -> None:
    """Run the line in turns, and print what it took and how the tables compare."""
    places: dict[str, dict[str, str]] = {
        "local[2]": {"NARROWS_SPARK__MASTER": "local[2]"},
        "two workers": {"NARROWS_SPARK__MASTER": master, "NARROWS_ENGINE__NARROW": "spark"},
    }
    print(f"Machine: {machine.processor()}.\n", flush=True)
    print(
        "| where | whole line, s | last narrowing room, s | of it users narrowed fused |\n|---|---|---|---|---|",
        flush=True,
    )
    done: dict[str, list[Run]] = {name: [] for name in places}
    for number in range(runs):
        for name, env in places.items():
            root = folder / f"{'local' if name == 'local[2]' else 'cluster'}{number}"
            done[name].append(one := whole_line(folder / "world", root, env, flow_users))
            last = tables(folder / "world", root)[-1]
            print(
                f"| {name} | {one.seconds:.1f} | {last.meta['cost']['seconds']:.1f} | "
                f"{last.notes['fused']['users']:,} |", flush=True,
            )  # fmt: skip
    ratio = min(run.seconds for run in done["two workers"]) / min(run.seconds for run in done["local[2]"])
    print(f"\nThe faster of the runs on two workers by the faster of the local ones: {ratio:.2f}.\n")
    same, rows = equal(folder / "world", done["local[2]"][0].root, done["two workers"][0].root)
    print(f"Every table has equal rows ({rows:,}): {'yes' if same else 'NO'}.")


def whole_line(world: Path, root: Path, env: dict[str, str], flow_users: int) -> Run:
    """``narrows run`` with an empty state folder."""
    given = {"NARROWS_FILE": str(world / "narrows.toml"), "NARROWS_STORE__ROOT": str(root), **env}
    given["NARROWS_PIPELINE__FLOW_USERS"] = str(flow_users)
    command = [sys.executable, "-m", "narrows", "run"]
    began = time.perf_counter()
    subprocess.run(
        command, check=True, env={**os.environ, **given}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    return Run(root, time.perf_counter() - began)


def tables(world: Path, root: Path) -> list[Any]:
    """The newest partition of every table of a state folder, the last narrowing room's at the end."""
    runner = Runner(load_settings(world / "narrows.toml", {"NARROWS_STORE__ROOT": str(root)}))
    names = [*runner.pipeline.names, runner.pipeline.narrowing[-1]]
    found = [runner.store.current(name, asof) for name in names for asof in runner.store.partitions(name)[-1:]]
    return [table for table in found if table]


def equal(world: Path, one: Path, other: Path) -> tuple[bool, int]:
    """Whether two state folders have the same rows in the same order, and how many."""
    same, rows = True, 0
    for mine, theirs in zip(tables(world, one), tables(world, other), strict=True):
        left, right = (pl.DataFrame(pl.from_arrow(table.arrow())).drop(OWN, strict=False) for table in (mine, theirs))
        same, rows = same and left.equals(right), rows + left.height
    return same, rows


if __name__ == "__main__":
    main()
