"""The framework's own sections of ``narrows.toml``: source, store, serving, mlflow, spark and pipeline."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from narrows import durations
from narrows.kinds import CONTEXT, EXPOSURE, POSITIVE, UNDO

LONGEST_HORIZON = timedelta(days=366)
"""The windows that are learned from lie a horizon apart, and the calendar must have them all."""
GRAINS = {"day": timedelta(days=1), "hour": timedelta(hours=1)}
"""Lengths with a name."""
USUAL_GRAINS = ("day", "hour", "30m", "15m", "10m", "5m", "1m")
SECRET: dict[str, Any] = {"writeOnly": True}
"""Of a value that may hold a password: no message shows it."""

STRICT = ConfigDict(extra="forbid", hide_input_in_errors=True)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class KindsSettings:
    """What each event type means. Without any, as by default, every event is a positive of weight 1."""

    positive: tuple[str, ...] | dict[str, float] = Field(
        default=(), description="a list of event types, or a table of their weights",
        examples=['["purchase"]', "{purchase = 1.0, add_to_list = 0.3}"],
    )  # fmt: skip
    """The user took the item: labels, histories and popularity. A weight counts in the order that models learn."""
    context: tuple[str, ...] = ()
    """The user looked at the item (a view, a cart): features and the channel ``viewed``, never a label."""
    exposure: tuple[str, ...] = ()
    """The item was shown to the user: shown and not taken is a negative of its own."""
    undo: tuple[str, ...] = ()
    """The user gave the item back: it cancels the latest earlier positive of the same user and item."""

    def __post_init__(self) -> None:
        seen: dict[str, str] = {}
        for kind, types in self._lists.items():
            for each in types:
                if each in seen:
                    where = f"in {seen[each]} too" if seen[each] != kind else "there twice"
                    raise ValueError(f"{kind} = {list(types)}: {each!r} is {where}. Name it once.")
                seen[each] = kind
        if seen and not self.positive:
            raise ValueError("positive = []: the other lists need one. Name the event types that are a positive.")
        if wrong := [each for each, weight in self.weights.items() if not (math.isfinite(weight) and weight > 0)]:
            raise ValueError(f"positive = {dict(self.weights)}: give {wrong[0]!r} a weight above 0.")

    @property
    def _lists(self) -> dict[str, tuple[str, ...]]:
        return {POSITIVE: tuple(self.positive), CONTEXT: self.context, EXPOSURE: self.exposure, UNDO: self.undo}

    @property
    def kind_of(self) -> dict[str, str]:
        """The kind of each event type that is named; empty: every event is a positive."""
        return {each: kind for kind, types in self._lists.items() for each in types}

    @property
    def weights(self) -> dict[str, float]:
        """The label weight of each event type that is a positive."""
        return self.positive if isinstance(self.positive, dict) else dict.fromkeys(self.positive, 1.0)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SourceSettings:
    """Where events come from. ``name`` is a public data set, or ``files`` with the keys below."""

    renamed: ClassVar[dict[str, str]] = {"horizon_days": 'horizon = "{}d"'}

    name: str = "completejourney"
    """``completejourney``, ``movielens-100k`` or ``files``."""
    horizon: str = Field(
        default="7d", pattern=f"^{durations.PATTERN}$", description="a duration", examples=["7d", "1h", "30m"]
    )
    """The time after the as-of that a list is meant for, labelled with and judged on: at most 366 days."""
    grain: str = Field(
        default="day", pattern=f"^(day|hour|{durations.PATTERN})$", description="day, hour or a duration that divides a day",
        examples=["30m"],
    )  # fmt: skip
    """The time from one as-of to the next; divides the horizon."""
    events: str = Field(default="", repr=False, json_schema_extra=SECRET)
    """files: a path, URL or glob that fsspec understands (Parquet, CSV, JSON lines; ``.gz`` too)."""
    items: str = Field(default="", repr=False, json_schema_extra=SECRET)
    """files: the optional items table, one row per item."""
    users: str = Field(default="", repr=False, json_schema_extra=SECRET)
    """files: the optional users table, one row per user."""
    event_columns: dict[str, str] = Field(default_factory=dict)
    """files: our name = your name; user_id, item_id and event_time are needed, the rest is optional."""
    item_columns: dict[str, str] = Field(default_factory=dict)
    """files: our name = your name, for item_id, title, category, subcategory, brand, department."""
    user_columns: dict[str, str] = Field(default_factory=dict)
    """files: our name = your name, for user_id, segment."""
    time_format: Literal["auto", "iso", "seconds", "milliseconds"] = "auto"
    """files: ``seconds`` or ``milliseconds`` since 1970, ``iso`` (8601; no zone means UTC), or ``auto``: any of these, or days like 20240102."""
    event_type: str = "event"
    """files: the type of every event where no column tells it."""
    where: str = ""
    """A Spark SQL condition over our event columns, such as ``value >= 4``: the rows for which it holds are read."""
    anonymous: bool = False
    """Whether a row without a user_id is of the user ``anonymous:<session_id>``; else such rows are broken."""
    kinds: KindsSettings = Field(default_factory=KindsSettings)
    """What each event type means: see [source.kinds]."""

    def __post_init__(self) -> None:
        if GRAINS["day"] % self.grain_length:
            raise ValueError(f'grain = "{self.grain}" does not divide a day: give day, hour, or for example 30m.')
        if self.horizon_length > LONGEST_HORIZON:
            raise ValueError(f'horizon = "{self.horizon}": give at most {durations.text(LONGEST_HORIZON)}.')
        if self.horizon_length % self.grain_length:
            finer = next(name for name in USUAL_GRAINS if not self.horizon_length % length_of(name))
            raise ValueError(
                f'horizon = "{self.horizon}" is no multiple of grain = "{self.grain}": set grain = "{finer}".'
            )

    @property
    def horizon_length(self) -> timedelta:
        return durations.parse(self.horizon)

    @property
    def grain_length(self) -> timedelta:
        return length_of(self.grain)


def length_of(grain: str) -> timedelta:
    """``day``, ``hour`` or a duration as a length of time."""
    return GRAINS.get(grain) or durations.parse(grain)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class StoreSettings:
    """Where tables, models and logs are kept."""

    root: str = "var"
    """The state folder; relative paths start at the folder of ``narrows.toml``."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ServingSettings:
    """The database that product services read."""

    url: str = Field(
        default="", repr=False, pattern="^$|://", description="a SQLAlchemy URL",
        examples=["postgresql://user:password@host/database"], json_schema_extra=SECRET,
    )  # fmt: skip
    """A SQLAlchemy URL; empty means SQLite in the state folder. Take passwords from the environment: ``NARROWS_SERVING__URL``."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class MlflowSettings:
    """Where runs and models are logged."""

    tracking_uri: str = Field(default="", repr=False, json_schema_extra=SECRET)
    """Empty means SQLite in the state folder."""
    experiment: str = "narrows"
    """The experiment of production runs."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SparkSettings:
    """The Spark session."""

    master: str = "local[*]"
    """A Spark master URL."""
    driver_memory: str = Field(
        default="2g", pattern="^[1-9][0-9]*[mgtMGT]$", description="a size with its unit", examples=["2g", "800m"]
    )
    """Heap of the driver, which is also the executor of a local master."""
    shuffle_partitions: int = Field(default=4, ge=1)
    """Partitions after a shuffle."""
    java_options: str = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
    """Options of the driver's JVM. The default starts fast, which suits minutes of work; for hours, empty it."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PipelineSettings:
    """Which rooms run, and from what they learn."""

    rooms: str = "stages"
    """The module (or entry point of the group ``narrows.pipelines``) whose PIPELINE lists the rooms."""
    imports: tuple[str, ...] = ()
    """Modules that are imported before a room works: they register pair features, channels and rankers."""
    windows: int = Field(default=8, ge=1)
    """How many earlier as-ofs, a horizon apart, the run learns from."""
    shard_users: int = Field(default=5000, ge=1)
    """Users that are narrowed at once: it bounds the memory, and changes no list."""


SECTIONS: dict[str, type] = {
    "source": SourceSettings,
    "store": StoreSettings,
    "serving": ServingSettings,
    "mlflow": MlflowSettings,
    "spark": SparkSettings,
    "pipeline": PipelineSettings,
}
