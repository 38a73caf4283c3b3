"""The command ``show``: the list that a user is served now."""

from __future__ import annotations

import argparse
import json
from argparse import Namespace
from typing import TYPE_CHECKING

from narrows.cli.command import Command, as_json
from narrows.cli.published import newest
from narrows.pipeline import Pipeline
from narrows.store.partitions import open_store

if TYPE_CHECKING:
    from narrows.settings import Settings


def show(settings: Settings, args: Namespace) -> int:
    """A user's list as the serving database has it."""
    from narrows.cli import explain
    from narrows.serving import reading, schema

    engine = schema.open_published(settings.serving_url)
    if args.scene not in (known := reading.scenes(engine)):
        raise schema.ServingError(
            f"no list is live for scene {args.scene!r}. The scenes are: {', '.join(known) or 'none'}"
        )
    rows = reading.current(engine, args.user, args.scene)
    titles = titles_of(settings, [row["item_id"] for row in rows])
    for row in rows:
        row["title"] = titles.get(row["item_id"])
    print(json.dumps(rows, default=str, indent=1) if args.json else explain.show(args.user, rows))
    return 0


def titles_of(settings: Settings, items: list[str]) -> dict[str, str]:
    """What to call items: the title, or else category and subcategory."""
    import pyarrow as pa
    import pyarrow.compute as pc

    table = open_store(settings).current("item_profiles", newest(settings))
    if not table:
        return {}
    columns = ["item_id", "title", "category", "subcategory"]
    rows = table.arrow(columns, pc.field("item_id").isin(pa.array(items, pa.string()))).to_pylist()
    return {r["item_id"]: r["title"] or " / ".join(filter(None, [r["category"], r["subcategory"]])) for r in rows}


def arguments(parser: argparse.ArgumentParser, pipeline: Pipeline) -> None:
    """Of ``show``."""
    parser.add_argument("user", help="the user's id, as the source has it")
    as_json(parser)
    parser.add_argument("--scene", default="home", help="where the list is shown (default home)")


COMMAND = Command(
    "show", "The list that a user is served now.", show, arguments, (
        ("narrows show 1", "the list that user 1 is served"),
    ),
)  # fmt: skip
