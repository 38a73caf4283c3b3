"""The command ``takedown``: an item gone from every list."""

from __future__ import annotations

import argparse
import json
from argparse import Namespace
from typing import TYPE_CHECKING

from narrows.cli.command import Command, as_json
from narrows.pipeline import Pipeline
from narrows.store.partitions import open_store

if TYPE_CHECKING:
    from narrows.settings import Settings


def takedown(settings: Settings, args: Namespace) -> int:
    """Hide an item from every list, or put it back."""
    from datetime import UTC, datetime

    from narrows.serving import reading, schema

    engine = schema.open_published(settings.serving_url)
    if args.undo:
        if not reading.put_back(engine, args.item):
            taken = ", ".join(sorted(reading.taken_down(engine))) or "none"
            raise schema.ServingError(f"item {args.item} is not taken down. Taken down are: {taken}")
        return said(args, False, f"item {args.item} is back")
    if not (args.force or reading.knows(engine, args.item) or in_catalogue(settings, args.item)):
        raise schema.ServingError(
            f"no list and no item profile has an item {args.item!r}. Check the id; to take it down before it appears: --force"
        )
    reading.takedown(engine, args.item, args.reason, datetime.now(UTC))
    return said(args, True, f"item {args.item} is gone from every list; undo: narrows takedown {args.item} --undo")


def said(args: Namespace, taken_down: bool, text: str) -> int:
    """Print what was done."""
    facts = {"item_id": args.item, "taken_down": taken_down, "reason": args.reason if taken_down else None}
    print(json.dumps(facts) if args.json else text)
    return 0


def in_catalogue(settings: Settings, item: str) -> bool:
    """Whether the newest item profiles have the item."""
    import pyarrow.compute as pc

    store = open_store(settings)
    days = store.partitions("item_profiles")
    table = store.current("item_profiles", days[-1]) if days else None
    return table is not None and table.arrow(["item_id"], pc.field("item_id") == item).num_rows > 0


def arguments(parser: argparse.ArgumentParser, pipeline: Pipeline) -> None:
    """Of ``takedown``."""
    parser.add_argument("item", help="the item's id")
    as_json(parser)
    parser.add_argument("--reason", default="", help="kept beside it")
    parser.add_argument("--undo", action="store_true", help="put it back")
    parser.add_argument("--force", action="store_true", help="also an item that no list and no item profile has yet")


COMMAND = Command(
    "takedown", "Remove an item from every list at the next read.", takedown, arguments, (
        ("narrows takedown 1082185", "item 1082185 is gone from every list at the next read"),
        ("narrows takedown 1082185 --undo", "it is back where a live list holds it"),
    ),
)  # fmt: skip
