"""The command ``show``: the list that a user is served now."""

from __future__ import annotations

import argparse
import json
import textwrap
from argparse import Namespace
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from narrows.cli.command import Command, as_json
from narrows.pipeline import Pipeline

if TYPE_CHECKING:
    from datetime import datetime

    from narrows.cli.layout import Block
    from narrows.settings import Settings

ITEM, REASON = 14, 18
"""Columns of an item's id and of a reason."""


def show(settings: Settings, args: Namespace) -> int:
    """A user's list as the serving database has it."""
    from narrows.serving import reading, schema

    engine = schema.open_published(settings.serving_url)
    if args.scene not in (known := reading.scenes(engine)):
        raise schema.ServingError(
            f"no list is live for scene {args.scene!r}. The scenes are: {', '.join(known) or 'none'}"
        )
    live, own = reading.live(engine), reading.own_list(engine, args.user, args.scene)
    rows = reading.current(engine, args.user, args.scene, args.n, args.segment)
    titles = titles_of(settings, [row["item_id"] for row in rows])
    rows = [row | {"title": titles.get(row["item_id"])} for row in rows]
    facts = {"user_id": args.user, "scene": args.scene, **header(live or {}, own, rows), "rows": rows}
    if args.json:
        print(json.dumps(facts, default=str, indent=1))
    else:
        from narrows.cli.layout import print_blocks, terminal_width

        width = terminal_width()
        print_blocks([block(facts, width)], width=width)
    return 0


def header(live: Mapping[str, Any], own: Mapping[str, Any] | None, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What is true of the whole list.

    Args:
        live: of `reading.live`.
        own: of `reading.own_list`.
        rows: of `reading.current`.
    """
    filled = sum(row["is_fallback"] for row in rows)
    facts = {key: live.get(key) for key in ("release_id", "asof", "created_at", "live_since")}
    return facts | {
        "known": own is not None,
        "segment": own["segment"] if own else None,
        "expires_at": own["expires_at"] if own else None,
        "expired": bool(own and own["expired"]),
        "never_expires": live.get("serves_at") is not None,
        "items": len(rows),
        "own_items": len(rows) - filled,
        "fallback_items": filled,
    }


def block(facts: Mapping[str, Any], width: int) -> Block:
    """The list below its header, at most ``width`` columns wide."""
    from narrows.cli.layout import Block, cut, short

    title = max(width - 4 - (2 + ITEM) - 2 - 8 - 8 - (2 + REASON), 10)
    widths = (4, -(2 + ITEM), -(2 + title), 8, 8, -(2 + REASON))
    rows = [
        (
            str(row["rank"]),
            f"  {cut(row['item_id'], ITEM)}",
            f"  {cut(row['title'] or '', title)}",
            short(row["score"]),
            short(row["propensity"]),
            f"  {cut(row['reason'], REASON)}",
        )
        for row in facts["rows"]
    ]
    lines = [line for part in words(facts) for line in textwrap.wrap(part, width)]
    names = ("", "  item", "  title", "score", "chance", "  reason") if rows else ()
    return Block("\n".join(lines), widths=widths, header=names, rows=rows)


def words(facts: Mapping[str, Any]) -> list[str]:
    """The header in words, a line each."""
    from narrows.serving.schema import EVERYONE

    user = f"scene {facts['scene']} · user {facts['user_id']}"
    own, filled = facts["own_items"], facts["fallback_items"]
    if not facts["items"]:
        return [_release(facts), f"{user} · nothing to show: every item of the lists is taken down"]
    fallback = f"{filled} item{'s' * (filled != 1)} of the fallback list"
    segments = dict.fromkeys(row["segment"] for row in facts["rows"] if row["is_fallback"])
    fallback += " " + ", then ".join("for everyone" if name == EVERYONE else f"for segment {name}" for name in segments)
    if not facts["known"]:
        text = f"not known to this release, so {fallback}"
    elif facts["expired"]:
        text = f"their list expired on {_instant(facts['expires_at'])}, so {fallback}"
    elif not own:
        text = f"every item of their list is taken down, so {fallback}"
    else:
        text = f"{own} item{'s' * (own != 1)} of their own list" + (f", then {fallback}" if filled else "")
        text += (
            " · a replay, does not expire" if facts["never_expires"] else f" · expires {_instant(facts['expires_at'])}"
        )
    return [_release(facts), f"{user} · {text}"]


def _release(facts: Mapping[str, Any]) -> str:
    parts = [f"release {facts['release_id']}", f"as of {facts['asof']}"]
    if facts["live_since"]:
        parts.append(f"live since {_instant(facts['live_since'])}")
    elif facts["created_at"]:
        parts.append(f"made {_instant(facts['created_at'])}")
    return " · ".join(parts)


def _instant(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def titles_of(settings: Settings, items: list[str]) -> dict[str, str]:
    """What to call items: the title, or else category and subcategory."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from narrows.cli.report.published import newest
    from narrows.store.partitions import open_store

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
    parser.add_argument("--n", type=int, default=20, help="how many items (default 20)")
    parser.add_argument("--segment", help="whose popular items fill the list (default: the user's segment)")


COMMAND = Command(
    "show", "The list that a user is served now.", show, arguments, (
        ("narrows show 1", "the list that user 1 is served"),
        ("narrows show 1 --json", "the same for a program: what is true of the list, and its rows"),
    ),
)  # fmt: skip
