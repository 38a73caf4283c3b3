"""A pipeline is a value: the list of its rooms, in the order in which they run."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from narrows.stage import NarrowingStage, Stage, parameters

DEFAULT = "stages"
"""The module of the pipeline that comes with Narrows."""
GROUP = "narrows.pipelines"
"""The group of entry points by which an installed package offers its pipeline under a name."""


class PipelineError(ValueError):
    """A list of rooms cannot run; the message names the room and the remedy."""


@dataclass(frozen=True)
class Pipeline:
    """The rooms in order, and what follows from their declarations."""

    rooms: tuple[type[Stage], ...]

    @classmethod
    def load(cls, path: str) -> Pipeline:
        """The ``PIPELINE`` of a module (``my_company.rooms``), or of the entry point of that name.

        Raises:
            PipelineError: there is no such module, or its PIPELINE is no list of rooms that can run.
        """
        # looking through the installed packages takes longer than all else of a start
        offered = {} if path == DEFAULT else {entry.name: entry.value for entry in entry_points(group=GROUP)}
        try:
            module = importlib.import_module(offered.get(path, path))
        except ModuleNotFoundError as error:
            raise PipelineError(
                f"rooms = {path!r}: no module {error.name!r} can be imported. Give the module whose PIPELINE lists the rooms."
            ) from error
        return cls.of(getattr(module, "PIPELINE", ()), path)

    @classmethod
    def of(cls, rooms: Iterable[Any], where: str = "PIPELINE") -> Pipeline:
        """Check a list of room classes.

        Raises:
            PipelineError: something in it is no room, two have one name, or one reads a table that nobody makes in time.
        """
        pipeline = cls(tuple(rooms))
        if not pipeline.rooms:
            raise PipelineError(f"{where}: PIPELINE is missing or empty. It lists the room classes in order.")
        for room in pipeline.rooms:
            if not (inspect.isclass(room) and issubclass(room, Stage) and hasattr(room, "name")):
                raise PipelineError(
                    f"{where}: {room!r} is no room. Derive it from TableStage or NarrowingStage; give it a name."
                )
        if len(set(pipeline.names)) < len(pipeline.names):
            twice = next(name for name in pipeline.names if pipeline.names.count(name) > 1)
            raise PipelineError(f"{where}: two rooms are called {twice!r}. Rename one.")
        for room in pipeline.rooms:
            for table, kind in pipeline.inputs(room.name).items():
                maker = pipeline.makers.get(table)
                if maker is None:
                    known = ", ".join(pipeline.makers)
                    raise PipelineError(
                        f"{where}: room {room.name!r} reads {table!r}, which no room makes. There are: {known}."
                    )
                if kind not in ("past", "previous", "truth") and pipeline.names.index(maker) >= pipeline.names.index(
                    room.name
                ):
                    raise PipelineError(
                        f"{where}: room {room.name!r} reads {table!r}, which a later room makes. Move it."
                    )
        return pipeline

    @property
    def names(self) -> tuple[str, ...]:
        """The rooms' names, in order; each is also the name of its table."""
        return tuple(room.name for room in self.rooms)

    @cached_property
    def makers(self) -> dict[str, str]:
        """The room that makes each table, side tables included."""
        makers = {room.name: room.name for room in self.rooms}
        return makers | {side: room.name for room in self.rooms for side in getattr(room, "side_tables", ())}

    def room(self, name: str) -> type[Stage]:
        """The room's class.

        Raises:
            PipelineError: there is no such room.
        """
        for room in self.rooms:
            if room.name == name:
                return room
        raise PipelineError(f"no room is called {name!r}; the rooms are {', '.join(self.names)}")

    @property
    def narrowing(self) -> tuple[str, ...]:
        """The names of the rooms that narrow, in order."""
        return tuple(room.name for room in self.rooms if issubclass(room, NarrowingStage))

    def before(self, name: str) -> str | None:
        """The narrowing room whose survivors this one receives."""
        earlier = self.narrowing[: self.narrowing.index(name)]
        return earlier[-1] if earlier else None

    def shard_tables(self, name: str) -> tuple[str, ...]:
        """The tables that the shards of a narrowing room are cut from: users, items, and candidates if there are any."""
        room = self.room(name)
        assert issubclass(room, NarrowingStage)
        before = self.before(name)
        return (room.users, room.items, *([before] if before else []))

    def inputs(self, name: str) -> dict[str, str]:
        """Every table the room reads, and how; derived from its methods' signatures.

        A narrowing room also reads the tables that its shards are cut from.
        """
        room = self.room(name)
        reads: dict[str, str] = {}
        for method in ("fit", "transform"):
            if hasattr(room, method):
                for table, kind in parameters(getattr(room, method)).items():
                    if kind == "flow":
                        reads |= dict.fromkeys(self.narrowing, "same")
                        continue
                    reads[table] = kind if reads.get(table, "past") == "past" else reads[table]
        if issubclass(room, NarrowingStage):
            reads |= dict.fromkeys(self.shard_tables(name), "same")
        return reads

    def upstream(self, name: str) -> set[str]:
        """The rooms above this one whose partition of the same as-of it waits for."""
        above = self.names[: self.names.index(name)]
        return {self.makers[table] for table in self.inputs(name)} & set(above)

    def waits_for(self, name: str) -> set[str]:
        """Those of `upstream` that no other of them waits for: the edges from which all others follow."""
        upstream = self.upstream(name)
        return upstream.difference(*(self._ancestors[room] for room in upstream))

    @cached_property
    def _ancestors(self) -> dict[str, set[str]]:
        """The rooms that must have run before each room, directly or not."""
        ancestors: dict[str, set[str]] = {}
        for name in self.names:  # a room reads the tables of rooms above it
            upstream = self.upstream(name)
            ancestors[name] = upstream.union(*(ancestors[room] for room in upstream))
        return ancestors


def configured(file: Path | None = None, env: Mapping[str, str] | None = None) -> Pipeline:
    """The pipeline that ``narrows.toml`` names, without reading anything else of it: what a DAG file needs.

    Modules beside the file are found. An unreadable file is for ``load_settings`` to report.
    """
    env = os.environ if env is None else env
    file = (file or Path(env.get("NARROWS_FILE") or "narrows.toml")).absolute()
    try:
        named = tomllib.loads(file.read_text(encoding="utf-8")).get("pipeline", {}).get("rooms")
    except (OSError, ValueError, AttributeError):
        named = None
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))
    return Pipeline.load(env.get("NARROWS_PIPELINE__ROOMS") or (named if isinstance(named, str) else DEFAULT))
