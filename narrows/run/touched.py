"""Between the runs that make lists for everybody: for whom a run makes new ones, and which lists go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from narrows.asof import Asof
from narrows.durations import parse

if TYPE_CHECKING:
    from narrows.run.runner import Runner
    from narrows.stage import Table

EVERYBODY = "everybody"
"""The setting of a table room that says how often everybody gets a new list, and the note of its partitions with the as-of
of the last one in which they did."""


def since(runner: Runner, asof: Asof) -> Asof | None:
    """The earlier as-of since which a user must have had an event to get a new list; None = everybody gets one."""
    room = next((room for room in runner.settings.rooms.values() if getattr(room, EVERYBODY, "")), None)
    if room is None or runner.making_past:
        return None
    table = previous(runner, room.name, asof)
    if table is None:
        return None
    last = Asof.parse(table.notes[EVERYBODY], asof.grain)
    return table.asof if asof - last < parse(getattr(room, EVERYBODY)) else None


def previous(runner: Runner, name: str, asof: Asof) -> Table | None:
    """The newest partition before ``asof`` that was published by the same recipe."""
    for earlier in reversed(runner.store.partitions(name)):
        if earlier < asof and (table := runner.published(name, earlier)):
            return table
    return None
