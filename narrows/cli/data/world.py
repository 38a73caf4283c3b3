"""``narrows world``: generated data of any size whose truth is known, with the ``narrows.toml`` that runs it."""

from __future__ import annotations

import argparse
import json
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from narrows.cli.command import Command, as_json
from narrows.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import Callable

    from narrows.world.settings import World
    from narrows.world.write import Written

TEXT = "Write a generated world of any size: a log with exact propensities, and what is true of it."
FLAGS = {
    "users": ("N", "users (default 2000)"),
    "items": ("N", "items (default 1000)"),
    "days": ("N", "days of the log (default 90)"),
    "start": ("DAY", "the first day (default 2024-01-01)"),
    "seed": ("N", "another seed makes another world (default 1)"),
}
JUDGED_USERS = 200
"""Users whose lists are valued, at the most."""
JUDGED_CELLS = 2_000_000
"""Users times items that are valued, at the most."""
SECONDS_BETWEEN = 3.0
"""Of two lines of progress."""

log = logging.getLogger(__name__)


def arguments(parser: argparse.ArgumentParser, pipeline: Pipeline) -> None:
    """The arguments of ``narrows world``."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="the folder to write to; made if it is not there")
    for name, (metavar, text) in FLAGS.items():
        parser.add_argument(f"--{name}", metavar=metavar, help=text)
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="more",
        help="any other setting of the world, such as position_bias=0.5 (all: docs/world-settings.md)",
    )  # fmt: skip
    parser.add_argument("--processes", type=int, metavar="N", help="that work at once (default: one a core)")
    parser.add_argument("--force", action="store_true", help="replace a generated world that is there")
    as_json(parser)


def world(settings: None, args: argparse.Namespace) -> int:
    """Write the world, and say what it is worth."""
    from narrows.world.write import write

    made = chosen(args)
    written = write(
        made, args.folder.absolute(), force=args.force, workers=args.processes, progress=progress(made.users)
    )
    facts = facts_of(made, args.folder, written)
    print(json.dumps(facts, indent=1) if args.json else text(facts, made))
    return 0


def chosen(args: argparse.Namespace) -> World:
    """The settings that the flags give.

    Raises:
        WorldError: one is refused.
    """
    from narrows.config.refusal import Refusal, validated
    from narrows.world.settings import World, WorldError

    values = {name: getattr(args, name) for name in FLAGS if getattr(args, name) is not None}
    for given in args.more:
        key, equals, value = given.partition("=")
        if not equals:
            raise WorldError(f"--set {given}: write KEY=VALUE, such as --set position_bias=0.5")
        values[key.strip()] = value.strip()
    try:
        return validated(World, {key: value if key == "start" else number(value) for key, value in values.items()})
    except Refusal as refusal:
        raise WorldError(f"{refusal} All settings: docs/world-settings.md") from refusal


def number(value: str) -> float | str:
    """A number, where it is one; whole numbers may have underscores."""
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value


def progress(users: int) -> Callable[[int, int], None]:
    """Says how far it is and how long it will take, every few seconds."""
    began = last = time.monotonic()

    def say(rows: int, done: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < SECONDS_BETWEEN or done == users:
            return
        last = now
        left = (now - began) * (users - done) / done
        log.info("%s rows, %.0f %% of the users; about %.0f s left", f"{rows:,}", 100 * done / users, left)

    return say


def facts_of(made: World, folder: Path, written: Written) -> dict[str, Any]:
    """What was written, as JSON values."""
    from dataclasses import asdict

    import numpy as np

    from narrows.world.demand import worth
    from narrows.world.truth import Truth

    size = max(1, min(JUDGED_USERS, made.users, JUDGED_CELLS // made.items))
    who = np.linspace(0, made.users - 1, size).astype(int)
    return {
        "folder": str(folder), "settings": asdict(made), "rows": written.rows, "total_rows": written.total,
        "seconds": round(written.seconds, 3), "rows_per_second": round(written.total / written.seconds),
        "users_valued": size, "expected_purchases": worth(Truth.load(folder.absolute()), who, made.days - 1),
    }  # fmt: skip


def text(facts: dict[str, Any], made: World) -> str:
    """The same for a person."""
    from narrows.cli.invocation import program

    rows = ", ".join(f"{count:,} {kind}s" for kind, count in facts["rows"].items())
    worth = facts["expected_purchases"]
    return (
        f"{facts['folder']} has {facts['total_rows']:,} rows of {made.users:,} users and {made.items:,} items in {made.days} days from "
        f"{made.start}: {rows}. {facts['rows_per_second']:,} rows a second.\n"
        f"Expected purchases from a list on the last day, mean of {facts['users_valued']} users: logging policy "
        f"{worth['logging']:.3f}, popular items {worth['popular']:.3f}, the best there is {worth['oracle']:.3f}.\n"
        f"log/ has every row, purchases/ the positives that narrows.toml reads, truth/ what is true. Next:\n"
        f"  cd {facts['folder']}\n"
        f"  {program(Path(facts['folder']).absolute())} run"
    )


COMMAND = Command(
    "world",
    TEXT,
    world,
    arguments,
    (
        ("narrows world my-world", "2,000 users, 1,000 items, 90 days, with narrows.toml"),
        ("narrows world big --users 1_000_000 --items 20_000 --days 60", "some 400 million rows"),
        (
            "narrows world flat --set position_bias=0 --set exploration=1",
            "every position examined, every item shown alike",
        ),
        ("narrows world my-world --force --json", "replace it, and print what it is as JSON"),
    ),
    reads_settings=False,
)
