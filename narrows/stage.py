"""The shape of a room: a frozen dataclass whose methods' parameters are the tables they read."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar, dataclass_transform

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as pydantic_dataclass

from narrows.asof import Asof
from narrows.store.table import Flow, Past, Previous, Recent, Table, Truth

if TYPE_CHECKING:
    import pyarrow as pa

    from narrows.settings import Settings

__all__ = [
    "Asof",
    "Flow",
    "Model",
    "Narrowed",
    "NarrowingStage",
    "Output",
    "Past",
    "Previous",
    "Recent",
    "Shard",
    "Stage",
    "Table",
    "TableStage",
    "Truth",
    "parameters",
    "room",
    "settings_of",
]  # fmt: skip

T = TypeVar("T")
WINDOWS = "windows"
"""In ``Stage.past``: as many partitions as ``[pipeline] windows`` says."""


class Model(Protocol):
    """What ``fit`` learns; plain files that run no code on load."""

    def save(self, folder: Path) -> None: ...


@dataclass(frozen=True)
class Shard:
    """Some users and all that narrowing them needs."""

    users: pa.Table
    """Profile rows of the shard's users."""
    items: pa.Table
    """Profile rows of the whole catalogue, shared by all shards; the row number is the item's code."""
    candidates: pa.Table | None
    """None before the first narrowing room; else one row per (user_id, item_id), grouped by user, best first."""
    asof: Asof
    of_items: dict[str, Any] = field(default_factory=dict, repr=False)
    """What `once` made; shards over the same items share it."""
    logged: bool = True
    """Whether what is removed goes into the log; where it does not, the removed rows need no column but ``reason``."""

    def once(self, name: str, make: Callable[[pa.Table], T]) -> T:
        """What ``make`` makes of the items alone: made for the first shard over them, and kept under the name for the others."""
        if name not in self.of_items:
            self.of_items[name] = make(self.items)
        made: T = self.of_items[name]
        return made

    @cached_property
    def user_ids(self) -> pa.Array:
        return self.users["user_id"].combine_chunks()


@dataclass(frozen=True)
class Narrowed:
    """What a narrowing room did to a shard; kept + removed = received. What it added counts beside them."""

    kept: pa.Table
    """The survivors with this room's columns added, grouped by user, best first."""
    removed: pa.Table
    """The others, same columns plus ``reason``; of a shard that is not logged ``reason`` is enough."""
    added: pa.Table | None = None
    """Rows that no earlier room proposed (a pin's), same columns plus ``reason``; they go on with the survivors."""

    @property
    def survivors(self) -> pa.Table:
        """What the next room receives: the kept and then the added rows of each user, grouped by user."""
        import numpy as np
        import pyarrow as pa

        if self.added is None or not self.added.num_rows:
            return self.kept
        rows = pa.concat_tables([self.kept, self.added])
        users = rows["user_id"].combine_chunks().dictionary_encode().indices
        return rows.take(pa.array(np.argsort(users, kind="stable")))


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A room: its fields are its settings, its CLI flags and its TOML keys."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")
    name: ClassVar[str]
    past: ClassVar[dict[str, str | int]] = {}
    """For each ``Past`` or ``Recent`` parameter how many partitions it reads; ``windows``: as many as the pipeline learns from."""
    registers: ClassVar[tuple[str, ...]] = ()
    """Modules that register what other rooms read; they are imported before any room works."""

    def check(self, settings: Settings) -> None:
        """Check what the fields alone cannot say, when settings are loaded: files that they name, plug-ins' own settings.

        Raises:
            ValueError: what is wrong, with the remedy, in one line.
        """

    def files(self, base: Path) -> list[Path]:
        """Files beyond ``narrows.toml`` whose content is part of the room's settings; ``base`` is its folder."""
        return []


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(Field,))
def room(kind: type[T]) -> type[T]:
    """Make a class a room (or a plug-in of one): a frozen dataclass whose fields are checked settings.

    A field's bounds are ``pydantic.Field`` arguments (``n: int = Field(100, ge=1)``), its meaning is the string below it.
    """
    return pydantic_dataclass(frozen=True, kw_only=True, config={"extra": "forbid"})(kind)  # type: ignore[return-value]


@dataclass(frozen=True)
class Output:
    """What a table room's ``transform`` returns when it has more to say than rows."""

    data: Any
    """The rows: a Spark frame or an Arrow table."""
    notes: dict[str, Any] = field(default_factory=dict)
    """Numbers for the manifest, the report and MLflow (JSON values)."""
    side_tables: dict[str, Any] = field(default_factory=dict)
    """Further tables that belong to this version, by name (the quarantine)."""


class TableStage(Stage):
    """A room that makes a table: ``transform(**tables) -> table | Made``.

    With a parameter ``asofs`` it makes several partitions in one job. A method ``transform_several(asofs, ...)`` does so with an
    output for each, whose rows are saved from the last as-of to the first; all but the first may be left out. With a parameter ``source`` it reads the source.
    A method ``publish(draft, **tables)`` swaps the table into a system outside the store, on every run; a method
    ``first_run(runner, asof)`` makes the past that a first run lacks.
    """

    partitioned_by: ClassVar[str] = ""
    """The column by whose values the rows lie in folders; ``known``: one partition serves all earlier as-ofs."""
    side_tables: ClassVar[tuple[str, ...]] = ()
    """Tables of their own contract, ``<name>.yml``, that are published with each partition and read by their name."""
    with_windows: ClassVar[bool] = False
    """Whether the partitions of the windows that a run learns from are made with its own, in one job."""


class NarrowingStage(Stage):
    """A room that turns candidates into fewer: optional ``fit(**tables) -> Model``, and ``narrow(model, shard)``."""

    users: ClassVar[str]
    """The table whose rows are a shard's users."""
    items: ClassVar[str]
    """The table whose rows are the catalogue of all shards."""

    def load(self, folder: Path) -> Any:
        """The model that ``Model.save`` wrote to ``folder``."""
        raise TypeError(f"room {self.name} learns nothing, so there is no model to load from {folder}")

    def narrow(self, model: Any, shard: Shard) -> Narrowed:
        """Keep the best candidates of each user of ``shard``; nothing vanishes."""
        raise TypeError(f"room {self.name} has no narrow method")


KINDS = {"Table": "same", "Past": "past", "Recent": "recent", "Previous": "previous", "Truth": "truth", "Flow": "flow"}


def parameters(method: Any) -> dict[str, str]:
    """The tables a method reads and how: the ``same`` partition, ``past`` or ``recent`` ones, the ``previous`` one, the ``truth`` after it, or
    under one parameter the ``flow``: the tables of all narrowing rooms.

    Annotations are compared by name, so that an entry point need not import what the others name.
    """
    given = inspect.signature(method).parameters.items()
    return {name: KINDS[str(p.annotation)] for name, p in given if str(p.annotation) in KINDS}


def settings_of(room: Stage) -> dict[str, Any]:
    """The room's settings as plain JSON values."""
    return {field.name: getattr(room, field.name) for field in fields(room)}
