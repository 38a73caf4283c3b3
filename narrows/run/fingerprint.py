"""Who is who: the identity of a room's work, as hashes of settings, code and inputs."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from narrows.settings import Settings
from narrows.stage import inputs, settings_of

WIRING = {"stage", "settings", "columns"}
"""Corridor modules whose changes leave every table as it was."""


@dataclass(frozen=True)
class Recipes:
    """What each room would do with the same rows, as a hash of settings, code, horizon and upstream recipes."""

    settings: Settings
    _known: dict[str, str] = field(default_factory=dict)

    def of(self, name: str) -> str:
        """The recipe of a room."""
        if name not in self._known:
            self._known[name] = self._make(name)
        return self._known[name]

    def _make(self, name: str) -> str:
        room, source = self.settings.rooms[name], self.settings.source
        upstream = {}
        for table, kind in inputs(type(room)).items():
            if kind == "past":
                # these may be of rooms that stand below: their own code and settings count, not what they read
                upstream[table] = digest(table, settings_of(self.settings.rooms[table]), code_of(table))
            else:
                upstream[table] = self.of("events" if kind == "truth" else table)
        extra = [file.read_text() for file in room.files(self.settings.base)]
        where = vars(source) if name == "events" else None
        return digest(name, settings_of(room), code_of(name), source.horizon_length, where, extra, upstream)


def digest(*parts: Any) -> str:
    """A stable sha256 of JSON values, dates and paths."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


@cache
def code_of(name: str) -> str:
    """A hash of the room's own code, of the corridor's that it imports, and of the feature definitions."""
    root = Path(__file__).parents[2]
    own = sorted((root / "stages" / name).rglob("*.py"))
    files = [*own, *sorted((root / "features").glob("*.py"))]
    imported = {
        word for file in own for word in re.findall(r"^\s*from narrows\.([\w.]+) import", file.read_text(), re.M)
    }
    files += [
        file
        for word in sorted(imported - WIRING)
        if (file := root / "narrows" / f"{word.replace('.', '/')}.py").exists()
    ]
    return digest([(file.name, file.read_text()) for file in files])


def merged(reads: list[dict[str, Any]]) -> dict[str, Any]:
    """What several partitions read, for making them in one job: the last's tables, and all earlier partitions."""
    both = dict(reads[-1])
    for name, value in both.items():
        if isinstance(value, dict):
            both[name] = type(value)(sorted((day, table) for one in reads for day, table in one[name].items()))
    return both


def versions(reads: dict[str, Any]) -> dict[str, Any]:
    """The versions of the tables that were read, by parameter; of earlier partitions by day."""
    return {
        name: {str(day): t.version for day, t in value.items()} if isinstance(value, dict) else value.version
        for name, value in reads.items()
    }
