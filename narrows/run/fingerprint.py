"""The identity of a room's work, as hashes of settings, code and inputs."""

from __future__ import annotations

import hashlib
import inspect
import json
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from narrows.pipeline import Pipeline
from narrows.run.code import Code
from narrows.settings import Settings
from narrows.stage import WINDOWS, NarrowingStage, Stage, settings_of

SAMPLING = "narrows.sampling"
"""Draws the users and lists that narrowing rooms narrow in full and learn from."""
SOURCE = "narrows.source.files"
"""Reads the source: it decides what a room makes that has a parameter ``source``."""


def reads_source(room: Stage | type[Stage]) -> bool:
    """Whether the room's table comes from the source."""
    return hasattr(room, "transform") and "source" in inspect.signature(room.transform).parameters


@dataclass(frozen=True)
class Recipes:
    """What each room would do with the same rows: a hash of settings, code, time and upstream recipes."""

    settings: Settings
    _recipes: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def pipeline(self) -> Pipeline:
        return self.settings.pipeline

    @cached_property
    def _code(self) -> Code:
        modules = [room.__module__ for room in self.pipeline.rooms]
        modules += [*self.plugins, SOURCE, "features"]
        return Code(frozenset(module.split(".")[0] for module in modules), self.settings.state / "code.json")

    @property
    def plugins(self) -> tuple[str, ...]:
        """Modules that register what rooms use: the pipeline's own and the user's."""
        own = [module for room in self.pipeline.rooms for module in room.registers]
        return (*own, *self.settings.pipeline_settings.imports)

    def of(self, name: str) -> str:
        """The recipe of a room."""
        if name not in self._recipes:
            self._recipes[name] = self._make(name)
        return self._recipes[name]

    def _make(self, name: str) -> str:
        room, source = self.settings.rooms[name], self.settings.source
        upstream = {}
        for table, kind in self.pipeline.inputs(name).items():
            maker = self.pipeline.makers[table]
            if kind in (
                "past",
                "previous",
            ):  # of a room below or the same: its code and settings count, not what it reads
                upstream[table] = digest(maker, settings_of(self.settings.rooms[maker]), self.code_of(maker))
            else:
                upstream[table] = self.of(maker)
        files = [file.read_text(encoding="utf-8") for file in room.files(self.settings.base)]
        time = [
            source.horizon,
            source.grain,
            str(source.visit_length),
            {table: past_count(self.settings, room, table) for table in room.past},
        ]
        where = asdict(source) if reads_source(room) else None
        narrowed = self._narrowed() if isinstance(room, NarrowingStage) else None
        return digest(name, settings_of(room), self.code_of(name), time, where, narrowed, files, upstream)

    def _narrowed(self) -> list[Any]:
        """What decides of whom a narrowing room's table is, how it is cut, and from how much the room learns."""
        chosen = self.settings.pipeline_settings
        flow = [chosen.mode, chosen.flow_users, chosen.example_rows]
        return [self.settings.shard_users, *flow, self.settings.audience]

    def code_of(self, name: str) -> str:
        """A hash of the code that decides what the room makes; see ``Code``."""
        room = self.pipeline.room(name)
        modules = self._code.of(room.__module__, self.plugins)
        if reads_source(room):
            modules |= self._code.of(SOURCE)
        if issubclass(room, NarrowingStage):
            modules |= self._code.of(SAMPLING)
        return digest(sorted(modules.items()))


def past_count(settings: Settings, room: Stage, table: str) -> int:
    """How many partitions of a ``past`` or ``recent`` table the room reads."""
    count = room.past[table]
    return settings.pipeline_settings.windows if count == WINDOWS else int(count)


def digest(*parts: Any) -> str:
    """A stable sha256 of JSON values, as-ofs and paths."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def merged(reads: list[dict[str, Any]]) -> dict[str, Any]:
    """What several partitions read, for making them in one job: the last's tables, and all earlier partitions."""
    if len(reads) == 1:
        return reads[0]
    both = dict(reads[-1])
    for name, value in both.items():
        if isinstance(value, dict):
            both[name] = type(value)(sorted((asof, table) for one in reads for asof, table in one[name].items()))
    return both


def versions(reads: dict[str, Any]) -> dict[str, Any]:
    """The versions of the tables that were read, by parameter; of earlier partitions by as-of."""
    return {
        name: {str(asof): t.version for asof, t in value.items()} if isinstance(value, dict) else value.version
        for name, value in reads.items()
    }
