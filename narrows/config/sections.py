"""The framework's own sections of ``narrows.toml``: source, store, serving, mlflow, spark, engine, pipeline, alerts and stream."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from narrows import durations
from narrows.config.stream import StreamSettings
from narrows.kinds import CONTEXT, EXPOSURE, POSITIVE, UNDO

LONGEST_HORIZON = timedelta(days=366)
"""The windows that are learned from lie a horizon apart, and the calendar must have them all."""
GRAINS = {"day": timedelta(days=1), "hour": timedelta(hours=1)}
"""Lengths with a name."""
USUAL_VISITS = ("1d", "6h", "3h", "1h", "30m", "10m", "5m")
USUAL_GRAINS = ("day", "hour", "30m", "15m", "10m", "5m", "1m")
SECRET: dict[str, Any] = {"writeOnly": True}
"""Of a value that may hold a password: no message shows it."""

ADDRESSES = ("s3", "file", "memory")
"""What an address of tables may begin with: where a conditional write is known."""

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
    visit: str = Field(
        default="", pattern=f"^$|^(day|hour|{durations.PATTERN})$", description="day, hour or a duration", examples=["day", "30m"]
    )  # fmt: skip
    """Events of a user within one period of this length (counted from midnight UTC) are one visit; empty = the longest of
    1d, 6h, 3h, 1h, 30m, 10m, 5m and 1m that is at most a seventh of the horizon."""
    events: str = Field(default="", repr=False, json_schema_extra=SECRET)
    """files: a path, URL or glob that fsspec understands (Parquet, CSV, JSON lines; ``.gz`` too)."""
    items: str = Field(default="", repr=False, json_schema_extra=SECRET)
    """files: the optional items table, one row per item."""
    users: str = Field(default="", repr=False, json_schema_extra=SECRET)
    """files: the optional users table, one row per user."""
    event_columns: dict[str, str] = Field(default_factory=dict)
    """files: our name = your name; user_id, item_id and event_time are needed, the rest is optional."""
    item_columns: dict[str, str] = Field(default_factory=dict)
    """files: our name = your name, for item_id, title, category, subcategory, brand, department, available_at."""
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
    def visit_length(self) -> timedelta:
        if self.visit:
            return length_of(self.visit)
        fits = (length for length in map(length_of, USUAL_VISITS) if 7 * length <= self.horizon_length)
        return next(fits, timedelta(minutes=1))

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
    tables: str = Field(default="", repr=False, json_schema_extra=SECRET)
    """Where the tables lie: a folder, or an address such as ``s3://bucket/prefix``; empty means ``tables`` in the state folder.
    Credentials, region and endpoint come from the environment, as the AWS SDK reads them."""
    cache_gb: float = Field(default=20.0, gt=0)
    """Of tables at an address: how much of them is kept as copies in the state folder, for Spark, models and repeated reading."""

    def __post_init__(self) -> None:
        if "://" in self.root:
            raise ValueError("root is a folder of this machine: give tables the address, and leave root as it is.")
        protocol, found, rest = self.tables.partition("://")
        if not found:
            return
        if protocol not in ADDRESSES:
            raise ValueError(
                f"tables: no safe way to publish on {protocol}:// is known. Give a folder, or s3://bucket/prefix."
            )
        if "@" in rest or "?" in rest:
            raise ValueError("tables: an address holds no credentials; give them in the environment.")
        if not rest.strip("/"):
            raise ValueError("tables: the address names no place. Give s3://bucket/prefix.")


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
    """A Spark master URL: ``local[*]`` is this process on all cores, ``spark://host:7077`` a standalone cluster."""
    driver_host: str = ""
    """The name or address by which executors find this machine; empty = loopback for a local master, else the machine's own."""
    driver_bind_address: str = ""
    """The address that the driver listens on; empty = loopback for a local master, else that of ``driver_host``. In a container
    whose ports are forwarded: ``0.0.0.0``."""
    executor_memory: str = Field(
        default="1g", pattern="^[1-9][0-9]*[mgtMGT]$", description="a size with its unit", examples=["2g", "800m"]
    )
    """Heap of an executor of a cluster. Its Python processes, which do most of the work, come on top: some 1 to 2 GiB a core."""
    executor_cores: int = Field(default=0, ge=0)
    """Cores of an executor of a cluster; 0 = as the cluster says."""
    driver_memory: str = Field(
        default="", pattern="^$|^[1-9][0-9]*[mgtMGT]$", description="a size with its unit", examples=["2g", "800m"]
    )
    """Heap of the driver, which is also the executor of a local master; empty = a sixteenth of ``[engine] memory``, at least 800 MiB or a third."""
    shuffle_partitions: int = Field(default=4, ge=1)
    """Partitions after a shuffle."""
    java_options: str = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
    """Options of the JVMs of driver and executors. The default starts fast, which suits minutes of work; for hours, empty it."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EngineSettings:
    """What a run may use, where it narrows, and what it makes up for."""

    memory: str = Field(
        default="", pattern="^$|^[1-9][0-9]*[mgtMGT]$", description="a size with its unit", examples=["12g", "800m"]
    )
    """Memory of all processes of a run together; empty = 60% of the machine. The heap of Spark, what its tasks hold, the
    shards and the processes that narrow follow from it."""
    narrow: Literal["local", "spark"] = "local"
    """Where users outside the flow sample are narrowed: ``local``, by processes of this machine; ``spark``, by Spark's executors,
    which on a cluster are other machines. The rows are the same."""
    catch_up: int = Field(default=24, ge=0)
    """How many missed as-ofs, the latest ones, a run by the clock makes before its own; 0 = none."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PipelineSettings:
    """Which rooms run, and from what they learn."""

    rooms: str = "stages"
    """The module (or entry point of the group ``narrows.pipelines``) whose PIPELINE lists the rooms."""
    imports: tuple[str, ...] = ()
    """Modules that are imported before a room works: they register pair features, channels and rankers."""
    windows: int = Field(default=8, ge=1)
    """How many earlier as-ofs, a horizon apart, the run learns from."""
    mode: Literal["fused", "staged"] = "fused"
    """``fused``: of more users than ``flow_users`` only a sample has its full flow, the others go through all narrowing rooms
    in memory, and only their lists are written. ``staged``: every room narrows everybody and writes all of it."""
    flow_users: int = Field(default=5000, ge=1)
    """About so many users of an as-of have their full flow, from which rooms learn and which the ledger counts."""
    example_rows: int = Field(default=2_000_000, ge=1)
    """A model learns from at most about so many examples; of more, from the lists of a share of the users."""
    shard_users: int = Field(default=0, ge=0)
    """Users that are narrowed at once: it bounds the memory, and changes no list; 0 = 2000, or fewer as ``[engine] memory`` says."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class AlertsSettings:
    """Who is told when a run of a DAG fails, misses its deadline or warns; by default nobody."""

    mail: tuple[str, ...] = ()
    """Addresses. The server is Airflow's connection ``smtp_default``, from the environment: ``AIRFLOW_CONN_SMTP_DEFAULT``."""
    webhook_file: str = ""
    """A file that holds the address to which each alert is posted as JSON with the key ``text``; an address is a secret."""
    deadline_hours: float = Field(default=0.0, ge=0)
    """A run that is not over so many hours after it was queued missed its deadline; 0 = it has none. Needs a triggerer."""


SECTIONS: dict[str, type] = {
    "source": SourceSettings,
    "store": StoreSettings,
    "serving": ServingSettings,
    "mlflow": MlflowSettings,
    "spark": SparkSettings,
    "engine": EngineSettings,
    "pipeline": PipelineSettings,
    "alerts": AlertsSettings,
    "stream": StreamSettings,
}
