"""``narrows.toml`` and ``NARROWS_*``: read, checked, and turned into one flat dataclass per section and room.

Environment variables override the file: ``NARROWS_RANK__N=50`` is ``[rank] n = 50``; further ``__`` lead into tables.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from narrows.asof import Asof
from narrows.config.constraints import unknown
from narrows.config.origins import SettingsError, Variables, located, overridden, read_toml
from narrows.config.refusal import Refusal, refusal_of, validated
from narrows.config.sections import (
    SECTIONS,
    AlertsSettings,
    EngineSettings,
    MlflowSettings,
    PipelineSettings,
    ServingSettings,
    SourceSettings,
    SparkSettings,
    StoreSettings,
)  # fmt: skip
from narrows.config.stream import StreamSettings
from narrows.pipeline import Pipeline
from narrows.source.errors import SourceError
from narrows.source.named import described
from narrows.stage import Stage

__all__ = ["FILE", "SECTIONS", "Settings", "SettingsError", "SourceSettings", "import_plugins", "load_settings"]

FILE = "narrows.toml"


@dataclass(frozen=True)
class Settings:
    """Everything that ``narrows.toml`` says, checked, with the defaults filled in."""

    base: Path
    """The folder that relative paths start at."""
    pipeline: Pipeline
    """The rooms that run."""
    rooms: dict[str, Stage]
    """Every room of the pipeline, with its settings."""
    source: SourceSettings
    store: StoreSettings
    serving: ServingSettings
    mlflow: MlflowSettings
    spark: SparkSettings
    engine: EngineSettings
    pipeline_settings: PipelineSettings
    """The section ``[pipeline]``."""
    alerts: AlertsSettings = field(default_factory=AlertsSettings)
    stream: StreamSettings = field(default_factory=StreamSettings)

    @property
    def state(self) -> Path:
        return self.base / self.store.root

    @property
    def tables(self) -> Path | str:
        """The folder of the tables, or their address."""
        given = self.store.tables
        return given if "://" in given else self.base / given if given else self.state / "tables"

    def asof(self, text: str) -> Asof:
        """The as-of that a text names, in the grain of the source.

        Raises:
            SettingsError: the text names none.
        """
        try:
            return Asof.parse(text, self.source.grain_length)
        except ValueError as error:
            raise SettingsError(str(error)) from None

    @property
    def shard_users(self) -> int:
        """How many users are narrowed at once."""
        from narrows.engine.memory import shard_users

        return self.pipeline_settings.shard_users or shard_users(self.engine)

    @property
    def audience(self) -> float:
        """Who gets a list of their own: users with an event within so many horizons, or with none yet; 0 = everybody.

        A table room declares it as its setting ``audience``.
        """
        return next((float(room.audience) for room in self.rooms.values() if hasattr(room, "audience")), 0.0)

    @property
    def serving_url(self) -> str:
        return self.serving.url or f"sqlite:///{self.state / 'recommendations.db'}"

    @property
    def tracking_uri(self) -> str:
        return self.mlflow.tracking_uri or f"sqlite:///{self.state / 'mlflow.db'}"


def load_settings(path: Path | None = None, env: Mapping[str, str] | None = None) -> Settings:
    """Read ``path`` (default: ``NARROWS_FILE`` or ``./narrows.toml``; a missing default file means all defaults).

    The modules of ``[pipeline]`` are imported; the folder of the file is searched for them too.

    Raises:
        SettingsError: an unknown section or key, a wrong type or value, unreadable TOML, a named file that is missing,
            a module that cannot be imported, or what a room's ``check`` refuses.
    """
    env = os.environ if env is None else env
    named = path or (Path(env["NARROWS_FILE"]) if env.get("NARROWS_FILE") else None)
    file = (named or Path(FILE)).absolute()
    values: dict[str, Any] = {}
    if named or file.exists():
        values = read_toml(file, f"Give the path of your {FILE}, or leave it out for the defaults.")
    variables: Variables = {}
    try:
        values = overridden(values, env, SECTIONS, variables)
        chosen = _section("pipeline", PipelineSettings, values)
        pipeline = _pipeline(chosen, file.parent)
        kinds: dict[str, Any] = SECTIONS | {room.name: room for room in pipeline.rooms}
        values = overridden(values, env, kinds, variables)
        values["source"] = _with_data_set(values.get("source", {}), file)
        for name in values:
            if name not in kinds:
                raise Refusal((name,), unknown(name, kinds, "section"), of_table=True)
        checked = {name: _section(name, kind, values) for name, kind in kinds.items()}
        settings = Settings(
            base=file.parent, pipeline=pipeline, rooms={name: checked[name] for name in pipeline.names},
            source=checked["source"], store=checked["store"], serving=checked["serving"], mlflow=checked["mlflow"],
            spark=checked["spark"], engine=checked["engine"], pipeline_settings=chosen, alerts=checked["alerts"],
            stream=checked["stream"],
        )  # fmt: skip
        import_plugins(settings)
        for name, room in settings.rooms.items():
            _check(name, room, settings)
    except Refusal as refusal:
        raise SettingsError(located(refusal, str(file), variables)) from refusal
    return settings


def import_plugins(settings: Settings) -> None:
    """Import the modules in which rooms register what others read, then those of ``[pipeline] imports``.

    Raises:
        Refusal: one cannot be imported.
    """
    for module in (module for room in settings.pipeline.rooms for module in room.registers):
        importlib.import_module(module)
    for module in settings.pipeline_settings.imports:
        try:
            importlib.import_module(module)
        except ImportError as error:
            remedy = f"Install it, or put it into {settings.base}"
            raise Refusal(("pipeline", "imports"), f"= {module!r} cannot be imported: {error}. {remedy}.") from error


def _pipeline(chosen: PipelineSettings, base: Path) -> Pipeline:
    if (chosen.imports or chosen.rooms != PipelineSettings().rooms) and str(base) not in sys.path:
        sys.path.append(str(base))
    try:
        return Pipeline.load(chosen.rooms)
    except ImportError as error:
        remedy = "Give a module that lists its rooms in PIPELINE"
        raise Refusal(("pipeline", "rooms"), f"= {chosen.rooms!r} cannot be loaded: {error}. {remedy}.") from error
    except ValueError as error:
        raise refusal_of(error).below("pipeline") from error


def _with_data_set(given: Any, file: Path) -> Any:
    """The section ``[source]``, completed by the data set that it names."""
    if not isinstance(given, dict):
        return given  # refused below, as any wrong section
    time = ("horizon", "grain")  # these two must fit each other, and the data set may give one of them
    own = _section("source", SourceSettings, {"source": {key: given[key] for key in given if key not in time}})

    def check(section: dict[str, Any], label: str) -> Any:
        try:
            return validated(SourceSettings, section, ("source",))
        except Refusal as refusal:
            raise SourceError(f"{label}: {refusal}") from refusal

    try:
        return described(own.name, given, file.parent, check) | given
    except SourceError as error:
        raise SettingsError(f"{file}: {error}") from error


def _section(name: str, kind: type, values: Mapping[str, Any]) -> Any:
    table = values.get(name, {})
    if not isinstance(table, dict):
        raise Refusal((name,), f"must be a section: write [{name}] and its keys below.")
    for old, new in getattr(kind, "renamed", {}).items():
        if old in table:
            raise Refusal((name, old), f"= {table[old]!r} is now {new.format(table[old])}.")
    return validated(kind, table, (name,))


def _check(name: str, room: Stage, settings: Settings) -> None:
    try:
        room.check(settings)
    except SettingsError:
        raise  # it names its own file
    except Refusal as refusal:
        raise refusal.below(name) from refusal
    except ValueError as error:
        raise refusal_of(error).below(name) from error
