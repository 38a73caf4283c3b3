"""The command ``list``: the rooms and their newest partitions."""

from __future__ import annotations

import argparse
import json
from argparse import Namespace
from typing import TYPE_CHECKING

from narrows.cli.command import Command, as_json
from narrows.pipeline import Pipeline

if TYPE_CHECKING:
    from narrows.settings import Settings


def list_rooms(settings: Settings, args: Namespace) -> int:
    """The rooms, in order."""
    from narrows.stage import NarrowingStage
    from narrows.store.partitions import open_store

    store, rows = open_store(settings), []
    for name in settings.pipeline.names:
        room = settings.pipeline.room(name)
        days = store.partitions(name)
        table = store.current(name, days[-1]) if days else None
        kind = "narrows" if issubclass(room, NarrowingStage) else "table"
        newest_rows = table.rows if table else 0
        rows.append({"room": name, "kind": kind, "reads": sorted(settings.pipeline.inputs(name)), "partitions": len(days),
                     "newest": str(days[-1]) if days else "", "rows": newest_rows})  # fmt: skip
    if args.json:
        print(json.dumps(rows, indent=1))
        return 0
    print(f"{'room':<16} {'kind':<8} {'newest':<11} {'rows':>10}  reads")
    for row in rows:
        reads = ", ".join(settings.pipeline.inputs(str(row["room"])))
        print(f"{row['room']:<16} {row['kind']:<8} {row['newest'] or '-':<11} {row['rows']:>10,}  {reads}")
    return 0


def arguments(parser: argparse.ArgumentParser, pipeline: Pipeline) -> None:
    """Of ``list``."""
    as_json(parser)


COMMAND = Command(
    "list", "The rooms in order, what each reads, and its newest partition.", list_rooms, arguments,
    (("narrows list", "the rooms, and what each has made"),),
)  # fmt: skip
