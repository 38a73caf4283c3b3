"""The command ``list``: the rooms, what each has made, and what its dates are for."""

from __future__ import annotations

import argparse
import json
import textwrap
from argparse import Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from narrows.cli.command import Command, as_json
from narrows.pipeline import Pipeline

if TYPE_CHECKING:
    from datetime import timedelta

    from narrows.asof import Asof
    from narrows.settings import Settings
    from narrows.store.partitions import Store

WIDTHS = (-17, -9, -14, 10, 7)
"""Of room, kind, newest, rows and parts; the rest of a line is what the room reads."""


def list_rooms(settings: Settings, args: Namespace) -> int:
    """The rooms, in order."""
    from narrows.run.missed import publisher
    from narrows.store.partitions import open_store

    store, pipeline = open_store(settings), settings.pipeline
    lists = store.partitions(publisher(pipeline))
    rows = [facts(store, pipeline, name, lists, settings.source.horizon_length) for name in pipeline.names]
    if args.json:
        print(json.dumps(rows, indent=1))
        return 0
    from narrows.cli.layout import terminal_width

    print("\n".join(lines(rows, str(lists[-1]) if lists else "", terminal_width())))
    return 0


def facts(store: Store, pipeline: Pipeline, name: str, lists: Sequence[Asof], horizon: timedelta) -> dict[str, Any]:
    """A room as JSON values.

    ``newest`` is its newest partition, but none after the newest lists where there are lists: those are ``later``, each
    with why it is there (``horizon`` of which as-of, ``refused`` or ``unfinished``).

    Args:
        store: the tables.
        pipeline: the rooms.
        name: the room.
        lists: the as-ofs with lists, oldest first.
        horizon: how long lists are for.
    """
    from narrows.run.missed import publisher
    from narrows.stage import NarrowingStage

    days = store.partitions(name)
    done = [day for day in days if not lists or day <= lists[-1]]
    newest = done[-1] if done else None
    table = store.current(name, newest) if newest else None
    row: dict[str, Any] = {
        "room": name,
        "kind": "narrows" if issubclass(pipeline.room(name), NarrowingStage) else "table",
        "reads": sorted(pipeline.inputs(name)),
        "partitions": len(days),
        "newest": str(newest or ""),
        "rows": table.rows if table else 0,
        "waits_for": "",
    }
    if lists and name in pipeline.names[pipeline.names.index(publisher(pipeline)) + 1 :] and newest != lists[-1]:
        row["waits_for"] = str(lists[-1] + horizon)
    row["later"] = [_later(store, name, day, lists, horizon) for day in days if day not in done]
    return row


def _later(store: Store, name: str, day: Asof, lists: Sequence[Asof], horizon: timedelta) -> dict[str, str]:
    table, of = store.current(name, day), day - horizon
    if of in lists:
        return {"asof": str(day), "why": "horizon", "of": str(of)}
    notes = table.notes if table else {}
    ends = notes.get("ends", "")
    if ends and ends < str(day) and not notes.get("goes_on"):
        return {"asof": str(day), "why": "refused", "of": ends}
    return {"asof": str(day), "why": "unfinished", "of": ""}


def lines(rows: Sequence[dict[str, Any]], lists: str, width: int) -> list[str]:
    """The table and the legend below it."""
    from narrows.cli.layout import cells

    indent = sum(map(abs, WIDTHS)) + 2

    def line(values: tuple[str, ...], reads: str) -> str:
        return f"{cells(values, WIDTHS):<{indent}}{reads}"

    text = [line(("room", "kind", "newest", "rows", "parts"), "reads")]
    for row in rows:
        made = (row["room"], row["kind"], row["newest"] or "-", f"{row['rows']:,}", str(row["partitions"]))
        reads = textwrap.wrap(", ".join(row["reads"]), max(width - indent, 20)) or [""]
        text += [line(("",) * 5 if at else made, part) for at, part in enumerate(reads)]
    legend = [
        f"newest: as of the newest lists ({lists}), or before them; parts: all dates there are" if lists
        else "newest: nothing has lists yet; parts: all dates there are"
    ]  # fmt: skip
    for row in rows:
        for later in row["later"]:
            why = {
                "horizon": f"the horizon that the lists as of {later['of']} are judged on",
                "refused": f"no lists: the as-of was refused, for the source ends with {later['of']}",
                "unfinished": "no lists: the run has not come to them, or did not end well",
            }[later["why"]]
            legend.append(f"{row['room']} has {later['asof']} too: {why}")
        if row["waits_for"]:
            until = f"lists are judged when their horizon, until {row['waits_for']}, has closed"
            legend.append(f"{row['room']} has no {lists} yet: {until}")
    return [line.rstrip() for line in text] + [""] + [part for line in legend for part in textwrap.wrap(line, width)]


def arguments(parser: argparse.ArgumentParser, pipeline: Pipeline) -> None:
    """Of ``list``."""
    as_json(parser)


COMMAND = Command(
    "list", "The rooms in order, what each reads, its newest partition, and what later ones are for.", list_rooms, arguments,
    (("narrows list", "the rooms, and what each has made"),),
)  # fmt: skip
