"""The shape of a room: a frozen dataclass whose methods' parameters are the tables they read."""

from __future__ import annotations

import importlib
import inspect
from dataclasses import dataclass, field, fields
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar, dataclass_transform

from pydantic import Field
from pydantic.dataclasses import dataclass as pydantic_dataclass

from stages import PIPELINE

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession


HIVE = "hive"
T = TypeVar("T")


def end_of(asof: date) -> datetime:
    """The first instant (UTC) after partition ``asof``: nothing at or after it is known to the partition."""
    return datetime.combine(asof, time(), UTC) + timedelta(days=1)


@dataclass(frozen=True)
class Table:
    """A handle on one published partition of one table."""

    name: str
    asof: date
    version: str
    """The first 16 hex digits of the fingerprint."""
    path: Path
    meta: dict[str, Any]
    """What the runner wrote beside the rows: fingerprint, inputs, settings, rows, cost, room notes."""

    @property
    def rows(self) -> int:
        return int(self.meta["rows"])

    def arrow(self, columns: list[str] | None = None, where: Any = None) -> pa.Table:
        """The rows as an Arrow table, optionally some columns and the rows that ``where`` (a dataset filter) holds."""
        import pyarrow.dataset as ds

        if self.name == "events":
            known = ds.field("day") <= self.known_by.isoformat()
            where = known if where is None else known & where
        table = ds.dataset(self.path / "data", format="parquet", partitioning=HIVE).to_table(
            columns=columns, filter=where
        )
        return table.combine_chunks()

    def spark(self, session: SparkSession) -> DataFrame:
        """The rows as a Spark frame; Hive-style folders below ``data`` become columns."""
        rows = session.read.parquet(str(self.path / "data"))
        return rows.where(rows["day"] <= self.known_by.isoformat()) if self.name == "events" else rows

    @property
    def known_by(self) -> date:
        """Events are read up to this day: the files may hold later ones, of which an earlier as-of must not know."""
        return self.asof


class Past(dict[date, Table]):
    """Annotation of a parameter that reads earlier partitions of a table, a horizon apart, oldest first.

    They are what was published then; one that never was is left out.
    """

    def arrow(self, columns: list[str] | None = None, where: Any = None) -> pa.Table:
        """The rows of all of them, oldest first."""
        import pyarrow as pa

        tables = [table.arrow(columns, where) for table in self.values()]
        return pa.concat_tables(tables, promote_options="permissive").combine_chunks()


class Recent(Past):
    """The same, the partition itself included as the last."""


@dataclass(frozen=True)
class Truth(Table):
    """Annotation of a parameter that reads events up to the end of the horizon after the as-of."""

    end: date = date.max
    """The last day of the horizon."""

    @property
    def known_by(self) -> date:
        return self.end


class Model(Protocol):
    """What ``fit`` learns; plain files that run no code on load."""

    def save(self, folder: Path) -> None: ...


@dataclass(frozen=True)
class Shard:
    """Some users and all that narrowing them needs."""

    users: pa.Table
    """user_profiles rows of the shard's users."""
    items: pa.Table
    """item_profiles, the whole catalogue, shared by all shards; the row number is the item's code."""
    candidates: pa.Table | None
    """None before recall; else one row per (user_id, item_id), grouped by user, best first."""
    asof: date

    @cached_property
    def user_ids(self) -> pa.Array:
        return self.users["user_id"].combine_chunks()


@dataclass(frozen=True)
class Narrowed:
    """What a narrowing room did to a shard; kept + removed = received. What it added counts beside them."""

    kept: pa.Table
    """The survivors with this room's columns added, grouped by user, best first."""
    removed: pa.Table
    """The others, same columns plus ``reason``."""
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

    name: ClassVar[str]
    past: ClassVar[dict[str, str | int]] = {}
    """For each ``Past`` or ``Recent`` parameter how many partitions it reads, or the setting that says so."""

    def check(self, base: Path) -> None:
        """Check what the settings alone cannot say, when they are loaded: files that they name, plug-ins' own settings.

        ``base`` is the folder of ``narrows.toml``.

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
class Made:
    """What a table room's ``transform`` returns when it has more to say than rows."""

    data: Any
    """The rows: a Spark frame or an Arrow table."""
    notes: dict[str, Any] = field(default_factory=dict)
    """Numbers for the manifest, the report and MLflow (JSON values)."""
    beside: dict[str, Any] = field(default_factory=dict)
    """Further tables that belong to this version, by name (the quarantine)."""


class TableStage(Stage):
    """A room that makes a table: ``transform(**tables) -> table | Made``."""


class NarrowingStage(Stage):
    """A room that turns candidates into fewer: optional ``fit(**tables) -> Model``, and ``narrow(model, shard)``."""

    def load(self, folder: Path) -> Any:
        """The model that ``Model.save`` wrote to ``folder``."""
        raise TypeError(f"room {self.name} learns nothing, so there is no model to load from {folder}")

    def narrow(self, model: Any, shard: Shard) -> Narrowed:
        """Keep the best candidates of each user of ``shard``; nothing vanishes."""
        raise TypeError(f"room {self.name} has no narrow method")


def load_room(name: str) -> type[Stage]:
    """The room's class; importing a door is light.

    Raises:
        ValueError: there is no such room.
    """
    if name not in PIPELINE:
        raise ValueError(f"no room is called {name!r}; the rooms are {', '.join(PIPELINE)}")
    module = importlib.import_module(f"stages.{name}")
    return next(
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, Stage) and value.__dict__.get("name") == name
    )


def parameters(method: Any) -> dict[str, str]:
    """The tables a method reads and how: the ``same`` partition, ``past`` or ``recent`` ones, the ``truth`` after it.

    Annotations are compared by name, so that a door need not import what the others name.
    """
    kinds = {"Table": "same", "Past": "past", "Recent": "recent", "Truth": "truth"}
    given = inspect.signature(method).parameters.items()
    return {name: kinds[str(p.annotation)] for name, p in given if str(p.annotation) in kinds}


def inputs(room: type[Stage]) -> dict[str, str]:
    """Every table the room reads, and how; derived from its methods' signatures.

    A narrowing room also reads the profiles and the candidates of the room before it: they are its shard.
    """
    found: dict[str, str] = {}
    for method in ("fit", "transform"):
        if hasattr(room, method):
            for table, kind in parameters(getattr(room, method)).items():
                found[table] = kind if found.get(table, "past") == "past" else found[table]
    if issubclass(room, NarrowingStage):
        narrowing = [name for name in PIPELINE if issubclass(load_room(name), NarrowingStage)]
        before = narrowing[: narrowing.index(room.name)][-1:]
        found |= dict.fromkeys(["user_profiles", "item_profiles", *before], "same")
    return found


def settings_of(room: Stage) -> dict[str, Any]:
    """The room's settings as plain JSON values."""
    return {field.name: getattr(room, field.name) for field in fields(room)}
