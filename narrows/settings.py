"""``narrows.toml`` and ``NARROWS_*``: read, checked, and turned into one flat dataclass per section.

Environment variables override the file: ``NARROWS_RECALL__WIDTH=200`` is ``[recall] width = 200``.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from narrows.source.errors import SourceError
from narrows.source.named import described
from narrows.stage import Stage, load_room
from stages import PIPELINE

FILE = "narrows.toml"
LONGEST_HORIZON = 366
"""Days. The windows that are learned from lie a horizon apart, and the calendar must have them all."""


class SettingsError(ValueError):
    """A setting is wrong; the message names the file, the key and the remedy."""


@dataclass(frozen=True)
class SourceSettings:
    """Where events come from. ``name`` is a public data set, or ``files`` with the keys below."""

    name: str = "completejourney"
    """``completejourney``, ``movielens-100k`` or ``files``."""
    horizon_days: int = 7
    """Days after the as-of that a list is meant for, labelled with and judged on."""
    events: str = ""
    """files: a path, URL or glob that fsspec understands (Parquet, CSV, JSON lines; ``.gz`` too)."""
    items: str = ""
    """files: the optional items table, one row per item."""
    users: str = ""
    """files: the optional users table, one row per user."""
    event_columns: dict[str, str] = field(default_factory=dict)
    """files: our name = your name; user_id, item_id and event_time are needed, the rest is optional."""
    item_columns: dict[str, str] = field(default_factory=dict)
    """files: our name = your name, for item_id, title, category, subcategory, brand, department."""
    user_columns: dict[str, str] = field(default_factory=dict)
    """files: our name = your name, for user_id, segment."""
    time_format: str = "auto"
    """files: ``seconds`` or ``milliseconds`` since 1970, ``iso`` (8601; no zone means UTC), or ``auto``: any of these, or days like 20240102."""
    event_type: str = "event"
    """files: the type of every event where no column tells it."""

    def __post_init__(self) -> None:
        if not 1 <= self.horizon_days <= LONGEST_HORIZON:
            raise ValueError(f"horizon_days = {self.horizon_days}: give 1 to {LONGEST_HORIZON}.")
        if self.time_format not in ("auto", "iso", "seconds", "milliseconds"):
            raise ValueError(f"time_format = {self.time_format!r}: give auto, iso, seconds or milliseconds.")


@dataclass(frozen=True)
class StoreSettings:
    """Where tables, models and logs are kept."""

    root: str = "var"
    """The state folder; relative paths start at the folder of ``narrows.toml``."""


@dataclass(frozen=True)
class ServingSettings:
    """The database that product services read."""

    url: str = ""
    """A SQLAlchemy URL; empty means SQLite in the state folder. Take passwords from the environment: ``NARROWS_SERVING__URL``."""

    def __post_init__(self) -> None:
        if self.url and "://" not in self.url:  # the message leaves it out: it may hold a password
            raise ValueError("url is not a SQLAlchemy URL: give for example postgresql://user:password@host/database.")


@dataclass(frozen=True)
class MlflowSettings:
    """Where runs and models are logged."""

    tracking_uri: str = ""
    """Empty means SQLite in the state folder."""
    experiment: str = "narrows"
    """The experiment of production runs."""


@dataclass(frozen=True)
class SparkSettings:
    """The Spark session."""

    master: str = "local[*]"
    """A Spark master URL."""
    driver_memory: str = "2g"
    """Heap of the driver, which is also the executor of a local master."""
    shuffle_partitions: int = 4
    """Partitions after a shuffle."""
    java_options: str = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
    """Options of the driver's JVM. The default starts fast, which suits minutes of work; for hours, empty it."""

    def __post_init__(self) -> None:
        if self.shuffle_partitions < 1:
            raise ValueError(f"shuffle_partitions = {self.shuffle_partitions}: give 1 or more.")
        if not re.fullmatch(r"[1-9]\d*[mgtMGT]", self.driver_memory):
            raise ValueError(f"driver_memory = {self.driver_memory!r}: give a size with its unit, such as 2g or 800m.")


SECTIONS: dict[str, type] = {
    "source": SourceSettings,
    "store": StoreSettings,
    "serving": ServingSettings,
    "mlflow": MlflowSettings,
    "spark": SparkSettings,
}


@dataclass(frozen=True)
class Settings:
    """Everything that ``narrows.toml`` says, checked, with the defaults filled in."""

    base: Path
    """The folder that relative paths start at."""
    source: SourceSettings
    store: StoreSettings
    serving: ServingSettings
    mlflow: MlflowSettings
    spark: SparkSettings
    rooms: dict[str, Stage]
    """Every room of PIPELINE, with its settings."""

    @property
    def state(self) -> Path:
        return self.base / self.store.root

    @property
    def serving_url(self) -> str:
        return self.serving.url or f"sqlite:///{self.state / 'recommendations.db'}"

    @property
    def tracking_uri(self) -> str:
        return self.mlflow.tracking_uri or f"sqlite:///{self.state / 'mlflow.db'}"


def load_settings(path: Path | None = None, env: Mapping[str, str] | None = None) -> Settings:
    """Read ``path`` (default: ``NARROWS_FILE`` or ``./narrows.toml``; a missing default file means all defaults).

    Raises:
        SettingsError: an unknown section or key, a wrong type or value, unreadable TOML, or a named file that is
            missing.
    """
    env = os.environ if env is None else env
    named = path or (Path(env["NARROWS_FILE"]) if env.get("NARROWS_FILE") else None)
    file = (named or Path(FILE)).absolute()
    values: dict[str, Any] = {}
    if file.exists():
        try:
            values = tomllib.loads(file.read_text())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsError(f"{file}: not valid TOML: {error}. Mend that line.") from error
        except OSError as error:
            raise SettingsError(f"{file} cannot be read: {error.strerror}. Give the path of your {FILE}.") from error
    elif named:
        raise SettingsError(
            f"{file}: there is no such file. Give the path of your {FILE}, or leave it out for the defaults."
        )
    kinds = SECTIONS | {name: load_room(name) for name in PIPELINE}
    for name, value in values.items():
        if name not in kinds or not isinstance(value, dict):
            raise SettingsError(f"{file}: {_unknown(name, kinds, 'section')}")
    overrides: dict[str, dict[str, str]] = {}
    for variable, text in env.items():
        section, _, key = variable.removeprefix("NARROWS_").lower().partition("__")
        if variable.startswith("NARROWS_") and key:
            if section not in kinds:
                raise SettingsError(f"environment variable {variable}: {_unknown(section, kinds, 'section')}")
            overrides.setdefault(section, {})[key] = text
    values["source"] = _with_data_set(values.get("source", {}), overrides.get("source", {}), file)
    made = {
        name: _section(kind, values.get(name, {}), overrides.get(name, {}), str(file), name)
        for name, kind in kinds.items()
    }
    windows, scored = made["prerank"].windows, made["examples"].scored_windows
    if windows <= scored:
        raise SettingsError(
            f"{file}: [prerank] windows = {windows}, [examples] scored_windows = {scored}: give windows {scored + 1} or "
            "more, or fewer scored_windows."
        )
    sections = {name: made[name] for name in SECTIONS}
    return Settings(base=file.parent, rooms={name: made[name] for name in PIPELINE}, **sections)


def _with_data_set(given: dict[str, Any], overrides: dict[str, str], file: Path) -> dict[str, Any]:
    """The section ``[source]``, completed by the data set that it names."""

    def check(section: dict[str, Any], label: str) -> Any:
        return _section(SourceSettings, _in_days(section), {}, label, "source")

    name = _section(SourceSettings, given, overrides, str(file), "source").name
    try:
        return _in_days(described(name, {**given, **overrides}, file.parent, check)) | given
    except SourceError as error:
        raise SettingsError(f"{file}: {error}") from error


def _in_days(section: dict[str, Any]) -> dict[str, Any]:
    days = {"horizon_days": int(section["horizon"].removesuffix("d"))} if "horizon" in section else {}
    return {**days, **{key: value for key, value in section.items() if key not in ("horizon", "grain")}}


def _section(kind: type, values: dict[str, Any], overrides: dict[str, str], file: str, section: str) -> Any:
    hints = typing.get_type_hints(kind)
    allowed = {f.name: hints[f.name] for f in dataclasses.fields(kind)}
    checked = {}
    for key, value in values.items():
        where = f"{file}: [{section}]"
        if key not in allowed:
            raise SettingsError(f"{where} {_unknown(key, allowed, 'key')}")
        checked[key] = _typed(value, allowed[key], f"{where} {key}")
    for key, text in overrides.items():
        where = f"environment variable NARROWS_{section.upper()}__{key.upper()}"
        if key not in allowed:
            raise SettingsError(f"{where}: {_unknown(key, allowed, 'key')}")
        try:
            value = text if allowed[key] is str else tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text
        checked[key] = _typed(value, allowed[key], where)
    try:
        made = kind(**checked)
    except ValueError as error:
        raise SettingsError(f"{file}: [{section}] {error}") from error
    for key, value in checked.items():  # a number is a count, a share, a rate or a length of time
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, int | float) and not number >= 0:
                raise SettingsError(f"{file}: [{section}] {key} = {value}: give 0 or more.")
    return made


def _typed(value: Any, kind: Any, where: str) -> Any:
    origin = typing.get_origin(kind)
    if origin in (types.UnionType, typing.Union):
        kind = next((k for k in typing.get_args(kind) if _fits(value, k)), typing.get_args(kind)[0])
        return _typed(value, kind, where)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if origin is tuple and isinstance(value, list):
        inner = typing.get_args(kind)[0]
        return tuple(_typed(each, inner, where) for each in value)
    return value if _fits(value, kind) else _refuse(value, kind, where)


def _fits(value: Any, kind: Any) -> bool:
    if typing.get_origin(kind) is dict:
        return isinstance(value, dict) and all(isinstance(each, str) for each in value.values())
    if isinstance(value, bool):
        return kind is bool
    return isinstance(kind, type) and isinstance(value, kind)


def _refuse(value: Any, kind: Any, where: str) -> Any:
    words = {int: "a whole number", float: "a number", str: 'text in "quotes"', bool: "true or false"}
    wanted = words.get(kind) or ("a list" if typing.get_origin(kind) is tuple else "a table of text values")
    raise SettingsError(f"{where} = {value!r} has the wrong type: give {wanted}.")


def _unknown(name: str, allowed: Any, what: str) -> str:
    near = difflib.get_close_matches(name, list(allowed), n=1)
    hint = f"Did you mean {near[0]!r}?" if near else f"The {what}s are: {', '.join(allowed)}."
    return f"{name!r} is not a known {what}. {hint}"
