"""``python -m bench.size [USERS ...]``: the whole line on generated worlds of growing size: time and memory against users.

A world has one item for five users, and 30 events a user: views, carts and purchases, of which purchases are wanted. Its log and
state folder stay in ``--folder``, so that a size that was measured is not measured again. Prints Markdown, a part of docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import sys
from pathlib import Path

import polars as pl

from bench import machine
from bench.processes import watched
from narrows.world.settings import World
from narrows.world.write import write

SETTINGS = """[source]
name = "files"
events = "events/*.parquet"
items = "items.parquet"
users = "users.parquet"
horizon = "7d"
grain = "day"

[source.kinds]
positive = ["purchase"]
context = ["view", "cart"]
undo = ["return"]
"""
USERS_OF_AN_ITEM = 5


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.size", description=__doc__)
    parser.add_argument("users", type=int, nargs="*", default=[62_000, 125_000, 250_000, 500_000, 1_000_000])
    parser.add_argument("--folder", type=Path, default=Path("var/bench-size"))
    parser.add_argument("--keep", action="store_true", help="keep the state folders, of many gigabytes")
    args = parser.parse_args()
    print(f"Machine: {machine.processor()}.\n")
    print(
        "| users | items | events | whole line, min | memory of all processes, GB | served recall@20 |\n|---|---|---|---|---|---|"
    )
    found = []
    for users in args.users:
        place = args.folder / str(users)
        known = place / "measured.json"
        if not known.exists():
            known.write_text(json.dumps(measure(place, users, args.keep)))
        found.append(one := json.loads(known.read_text()))
        print(
            "| {users:,} | {items:,} | {events:,} | {minutes:.1f} | {peak:.1f} | {recall} |".format(**one), flush=True
        )
    if len(found) > 1:
        print(f"\nTime grows with users to the power of {slope(found):.2f} (least squares on the logarithms).")


def measure(place: Path, users: int, keep: bool) -> dict[str, float | str]:
    """Make the world, run the line with an empty state folder, and say what it took."""
    items, events = users // USERS_OF_AN_ITEM, make(place, users)
    root = place / "state"
    shutil.rmtree(root, ignore_errors=True)
    env = {"NARROWS_FILE": str(place / "narrows.toml"), "NARROWS_STORE__ROOT": str(root)}
    ran = watched([sys.executable, "-m", "narrows", "run"], env, place / "run.log")
    if ran.code:
        raise SystemExit(f"{users:,} users: the run failed, see {place / 'run.log'}")
    published = [line for line in (place / "run.log").read_text().splitlines() if line.startswith("published ")]
    if not keep:
        shutil.rmtree(root)
    return {
        "users": users, "items": items, "events": events, "minutes": ran.seconds / 60, "peak": ran.peak / 1e9,
        "recall": " ".join(published[0].split()[1:4]),
    }  # fmt: skip


def make(place: Path, users: int) -> int:
    """A world's log without its impressions, unless it is there; the number of events."""
    if not (place / "narrows.toml").exists():
        write(World(users=users, items=users // USERS_OF_AN_ITEM, days=60, sessions_per_day=0.18), place / "world")
        (place / "events").mkdir(exist_ok=True)
        for file in sorted((place / "world" / "log").glob("*.parquet")):
            rows = pl.read_parquet(file).filter(pl.col("event_type").cast(pl.String) != "impression")
            rows.write_parquet(place / "events" / file.name)
        for name in ("items.parquet", "users.parquet"):
            shutil.move(place / "world" / name, place / name)
        shutil.rmtree(place / "world")
        (place / "narrows.toml").write_text(SETTINGS)
    return int(pl.scan_parquet(place / "events/*.parquet").select(pl.len()).collect().item())


def slope(found: list[dict[str, float]]) -> float:
    """Of the logarithm of the time over that of the users."""
    x, y = ([math.log(one[name]) for one in found] for name in ("users", "minutes"))
    mean = sum(x) / len(x), sum(y) / len(y)
    above = sum((a - mean[0]) * (b - mean[1]) for a, b in zip(x, y, strict=True))
    return above / sum((a - mean[0]) ** 2 for a in x)


if __name__ == "__main__":
    main()
