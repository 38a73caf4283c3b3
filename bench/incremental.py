"""``python -m bench.incremental [--users N]``: what one more day costs after 30, 120 and 360 days of history.

One generated world, with late rows; a day's file holds what arrived on it. A history of n days is the files of the last n, so that
the day that is added is the same for all. For each history the events and the profiles are made up to its end, and then day by
day: the tables of `narrows transform`, audits included, in one process that has imported everything and started Spark (which makes
growth the easier to see; give a history twice to leave the first of them out, in which Java compiles). With ``--beside`` also the events
of the same day made of the whole source. Prints Markdown, a part of docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import shutil
from datetime import timedelta
from pathlib import Path
from statistics import median

import polars as pl

from bench import machine
from narrows.asof import Asof
from narrows.engine.cost import meter
from narrows.run.backfill import rooms
from narrows.run.runner import Runner
from narrows.settings import load_settings
from narrows.world.settings import World
from narrows.world.write import write

SETTINGS = """[source]
name = "files"
events = "events"
items = "../items.parquet"
users = "../users.parquet"
horizon = "7d"
grain = "day"
[source.kinds]
positive = ["purchase"]
context = ["view", "cart"]
[spark]
master = "local[2]"
"""
LONGEST = 360


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.incremental", description=__doc__)
    parser.add_argument("histories", type=int, nargs="*", default=[30, 120, 360])
    parser.add_argument("--users", type=int, default=1000)
    parser.add_argument("--days", type=int, default=3, help="days that are added to each history")
    parser.add_argument("--beside", action="store_true", help="also the events of the whole source")
    parser.add_argument("--folder", type=Path, default=Path("var/bench-incremental"))
    args = parser.parse_args()
    files = arrivals(args.folder, args.users, LONGEST + args.days)
    print(f"Machine: {machine.processor()}. {args.users:,} users, {args.days} days added; median (least to most).\n")
    print("| history, days | events | what | CPU seconds a day | wall seconds a day |\n|---|---|---|---|---|")
    for days in args.histories:
        update = Update(args.folder / f"h{days}", files, LONGEST - days)
        update.begin()
        rows = [update.add(LONGEST + number, args.beside) for number in range(args.days)]
        for name in rows[0]:
            cpu, wall = zip(*(row[name] for row in rows), strict=True)
            print(f"| {days} | {update.events:,} | {name} | {spread(cpu)} | {spread(wall)} |", flush=True)


def spread(values: tuple[float, ...]) -> str:
    """Median (least to most)."""
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


class Update:
    """A source that grows by a day, and the tables of its days."""

    def __init__(self, place: Path, files: list[Path], first: int) -> None:
        shutil.rmtree(place, ignore_errors=True)
        (place / "events").mkdir(parents=True)
        self.place, self.files = place, files
        for file in files[first:LONGEST]:
            shutil.copy2(file, place / "events")
        (place / "narrows.toml").write_text(SETTINGS)
        self.events = 0

    def asof(self, day: int) -> Asof:
        """The as-of of a day of the world."""
        return Asof.parse("2024-01-01") + day * timedelta(days=1)

    def begin(self) -> None:
        """Make the tables of the last day of the history, of the whole source."""
        runner = self.runner()
        for name in rooms(runner):
            runner.tables(name, [self.asof(LONGEST - 1)])

    def runner(self) -> Runner:
        """A runner that looks at the source anew."""
        return Runner(load_settings(self.place / "narrows.toml"))

    def add(self, day: int, beside: bool) -> dict[str, tuple[float, float]]:
        """Let a day arrive and make its tables: CPU and wall seconds by room and of all."""
        shutil.copy2(self.files[day], self.place / "events")
        spent, runner = {}, self.runner()
        for name in rooms(runner):
            with meter() as cost:
                table = runner.tables(name, [self.asof(day)])[self.asof(day)]
            spent[name] = (cost.cpu_seconds, cost.seconds)
            self.events = table.notes.get("events", self.events)
        spent["all three"] = tuple(map(sum, zip(*spent.values(), strict=True)))  # type: ignore[assignment]
        return {**spent, **self.whole(runner, day)} if beside else spent

    def whole(self, runner: Runner, day: int) -> dict[str, tuple[float, float]]:
        """What the events of the day cost where no earlier partition is there: without their audit."""
        events = runner.room(runner.source_room)
        with meter() as cost:
            output = events.transform(session=runner.session, source=runner.source, asof=self.asof(day))
            output.data.save(self.place / "whole")
        shutil.rmtree(self.place / "whole")
        runner.forget_rows()
        return {"events, of the whole source, without its audit": (cost.cpu_seconds, cost.seconds)}


def arrivals(folder: Path, users: int, days: int) -> list[Path]:
    """A world's files by the day on which their rows arrived, without impressions and returns; made once."""
    place = folder / f"world-{users}-{days}"
    if not place.exists():
        write(World(users=users, items=users, days=days), folder / "world")
        log = pl.scan_parquet(folder / "world" / "log" / "*.parquet").filter(
            pl.col("event_type").cast(pl.String).is_in(["view", "cart", "purchase"])
        )
        first = pl.datetime(2024, 1, 1, time_zone="UTC")
        rows = log.with_columns(day=(pl.max_horizontal("event_time", "ingested_at") - first).dt.total_days()).collect()
        draft = place.with_suffix(".draft")
        draft.mkdir(parents=True)
        for day in range(days):
            rows.filter(pl.col("day") == day).drop("day").write_parquet(draft / f"{day:04d}.parquet")
        for name in ("items.parquet", "users.parquet"):
            shutil.move(folder / "world" / name, folder / name)
        shutil.rmtree(folder / "world")
        draft.rename(place)
    return sorted(place.glob("*.parquet"))


if __name__ == "__main__":
    main()
