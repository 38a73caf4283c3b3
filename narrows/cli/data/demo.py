"""``narrows demo``: a small shop's orders, products and customers, made up, with the ``narrows.toml`` that runs them."""

from __future__ import annotations

import argparse
from pathlib import Path

from narrows.cli.command import Command
from narrows.cli.data.init import guessed, written
from narrows.cli.invocation import program
from narrows.pipeline import Pipeline
from narrows.settings import FILE
from narrows.source.errors import SourceError

TEXT = "Write a small data set to try Narrows with, and its narrows.toml."
SMALL = """# Small data: fewer weeks to learn from, smaller leaves, rarer items with an embedding; a run takes a minute or two.
[pipeline]
windows = 5

[prerank]
min_rows = 50

[rank]
min_count = 50

[evaluation]
resamples = 300
"""
TABLES = ("orders", "products", "customers")


def arguments(parser: argparse.ArgumentParser, pipeline: Pipeline) -> None:
    """The arguments of ``narrows demo``."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="the folder to write to; made if it is not there")
    parser.add_argument("--seed", type=int, default=1, help="another seed makes another shop (default 1)")
    parser.add_argument("--force", action="store_true", help="replace the files if they are there")


def demo(settings: None, args: argparse.Namespace) -> int:
    """Write the data set, and say what to do with it."""
    from narrows.cli.data.demo_shop import shop

    folder = args.folder.absolute()
    files = {name: folder / f"{name}.csv" for name in TABLES}
    if not args.force and (there := next((file for file in (*files.values(), folder / FILE) if file.exists()), None)):
        raise SourceError(f"{there} is there already, and is kept. Replace it with --force, or name another folder")
    if folder.exists() and not folder.is_dir():
        raise SourceError(f"{folder} is a file. Name a folder")
    folder.mkdir(parents=True, exist_ok=True)
    tables = shop(args.seed)
    for name, file in files.items():
        tables[name].write_csv(file)
    text, _ = guessed(folder, "orders.csv", "products.csv", "customers.csv", {}, SMALL)
    written(folder / FILE, text)
    orders = tables["orders"]
    print(
        f"{args.folder} has {orders.height:,} order lines of {tables['customers'].height} customers, "
        f"{tables['products'].height} products, and the {FILE} that `narrows init` wrote for them. Next:\n"
        f"  cd {args.folder}\n"
        f"  {program(folder)} run"
    )
    return 0


COMMAND = Command(
    "demo",
    TEXT,
    demo,
    arguments,
    (
        ("narrows demo my-shop", "a small data set to try, with its narrows.toml"),
        ("cd my-shop && narrows run", "run it"),
    ),
    reads_settings=False,
)
