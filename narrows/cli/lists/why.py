"""The command ``why``: what happened to an item for a user."""

from __future__ import annotations

import argparse
import json
from argparse import Namespace
from typing import TYPE_CHECKING

from narrows.cli.command import Command, as_json, asof_optional
from narrows.cli.report.published import newest
from narrows.pipeline import Pipeline
from narrows.store.partitions import StoreError, open_store

if TYPE_CHECKING:
    from narrows.settings import Settings


def why(settings: Settings, args: Namespace) -> int:
    """One item's way through the cascade, and what became of it since."""
    from narrows.cli.layout import terminal_width
    from narrows.cli.lists import explain
    from narrows.reasons import of_rooms
    from narrows.serving import reading, schema
    from narrows.stage import NarrowingStage

    store, asof = open_store(settings), args.asof or newest(settings)
    narrowing = [name for name, room in settings.rooms.items() if isinstance(room, NarrowingStage)]
    rooms = ("user_profiles", "item_profiles", *narrowing, "recommendations")
    tables = {room: store.current(room, asof) for room in rooms}
    if missing := [room for room, table in tables.items() if not table]:
        raise StoreError(f"no {missing[0]} as of {asof}. Run: narrows run --asof {asof}")
    reasons = of_rooms(settings.pipeline.rooms)
    facts = explain.trace(args.user, args.item, {room: table for room, table in tables.items() if table}, reasons)
    facts["asof"] = str(asof)
    engine = schema.open_published(settings.serving_url)
    facts["taken_down"] = reading.taken_down(engine).get(args.item)
    scene = settings.rooms["recommendations"].scene  # type: ignore[attr-defined]
    filled = [row for row in reading.current(engine, args.user, scene) if row["reason"] == "fallback"]
    facts["fallback"] = next((row["rank"] for row in filled if row["item_id"] == args.item), 0)
    print(json.dumps(facts, default=str, indent=1) if args.json else "\n".join(explain.words(facts, terminal_width())))
    return 0


def arguments(parser: argparse.ArgumentParser, pipeline: Pipeline) -> None:
    """Of ``why``."""
    parser.add_argument("user", help="the user's id, as the source has it")
    parser.add_argument("item", help="the item's id")
    as_json(parser)
    asof_optional(parser)


COMMAND = Command(
    "why", "What happened to an item for a user, stage by stage.", why, arguments, (
        ("narrows why 1 1082185", "what happened to item 1082185 for user 1"),
    ),
)  # fmt: skip
