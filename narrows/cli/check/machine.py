"""What ``narrows doctor`` says of the machine and of the services beside it: memory, disk, databases, device."""

from __future__ import annotations

import os
import shutil
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

from narrows.cli.check.finding import Check, Counts, fails, ok, warns
from narrows.engine.memory import SHARD_BYTES, WORKER_BYTES, heap, size, workers
from narrows.source.urls import redacted

if TYPE_CHECKING:
    from narrows.settings import Settings

BASE_MB, MB_PER_EVENT, MB_PER_EXAMPLE = 1_900, 0.0005, 0.0004
"""Peak of a run's memory with the default heap: for each event of the users that the models learn from, and for each example
(some 80 numbers, twice in memory). Peaks of all processes of `narrows run` on two cores with 14 GB: 2,030 MB for 48,509 events of
300 users in 5 windows (the demo), 2,240 MB for 100,000 events of 943 users in 8 (MovieLens), 3,170 MB for 1.42 million events of 2,463 users in 8 (completejourney)."""
EXAMPLES_PER_USER = 75
"""Of a user and window."""
DEFAULT_HEAP_MB = 896
BASE_DISK_MB, DISK_MB_PER_EVENT = 60, 0.0004
"""What a first run writes. Measured: 550 MB for 1.42 million events (completejourney)."""
SCRATCH_TABLE = "narrows_doctor"
SECONDS = 5
"""How long a server may take to answer."""


def memory(settings: Settings, counts: Counts | None) -> Check:
    """What is free against an estimate from measured runs."""
    import psutil

    free = psutil.virtual_memory().available / 1e6
    need = BASE_MB + size(heap(settings.spark, settings.engine)) / 2**20 - DEFAULT_HEAP_MB
    need += max(_learning(settings, counts), _narrowing(settings, counts)) if counts else 0
    text = f"{free / 1000:.1f} GB free, a run takes about {need / 1000:.1f} GB (estimate)"
    if need > free:
        return warns(
            "memory", f"{text}. End other programs, set [engine] memory to what is free, or lower [pipeline] windows"
        )
    return ok("memory", text)


def _learning(settings: Settings, counts: Counts) -> float:
    """MB on top while models learn: histories and examples, both bounded by settings where users are many."""
    chosen, most = settings.pipeline_settings, getattr(settings.rooms.get("recall"), "fit_users", counts.users)
    events = counts.events * min(1.0, most / max(counts.users, 1))
    users = counts.users if chosen.mode == "staged" else min(counts.users, chosen.flow_users)
    examples = min(users * chosen.windows * EXAMPLES_PER_USER, chosen.example_rows)
    return events * MB_PER_EVENT + examples * MB_PER_EXAMPLE


def _narrowing(settings: Settings, counts: Counts) -> float:
    """MB on top while the users outside the flow sample are narrowed, each process with a shard; 0 where all are in it."""
    chosen = settings.pipeline_settings
    if chosen.mode == "staged" or counts.users <= chosen.flow_users:
        return 0.0
    shard = min(settings.shard_users, counts.users - chosen.flow_users)
    return workers(settings.engine, shard) * (WORKER_BYTES + shard * SHARD_BYTES) / 1e6


def disk(settings: Settings, counts: Counts | None) -> Check:
    """Whether the state folder can be written, and has room."""
    place = existing(settings.state)
    if not place.is_dir() or not os.access(place, os.W_OK):
        return fails("disk", f"{settings.state} cannot be written. Change its permissions, or [store] root")
    free, need = (
        shutil.disk_usage(place).free / 1e6,
        BASE_DISK_MB + (counts.events * DISK_MB_PER_EVENT if counts else 0),
    )
    text = f"{free / 1000:.1f} GB free for {settings.state}, a first run takes about {need / 1000:.1f} GB (estimate)"
    return ok("disk", text) if free > need else warns("disk", f"{text}. Free some, or change [store] root")


def existing(path: Path) -> Path:
    """The path, or the nearest folder above it that is there."""
    path = path.absolute()
    return path if path.exists() else existing(path.parent)


def database(settings: Settings) -> Check:
    """Whether the serving database can be reached and written; one that is not there yet is not made."""
    import sqlalchemy as sa

    from narrows.serving.schema import ServingError, open_engine

    where = redacted(settings.serving_url)
    try:
        engine = open_engine(settings.serving_url)
    except ServingError as error:
        return fails("database", str(error))
    file = Path(engine.url.database or "") if engine.dialect.name == "sqlite" else None
    if file and not file.exists():
        return _folder("database", file, where)
    try:
        with engine.connect() as connection, connection.begin() as transaction:
            connection.execute(sa.text(f"CREATE TABLE {SCRATCH_TABLE} (one INTEGER)"))
            transaction.rollback()
    except sa.exc.SQLAlchemyError as error:
        said = " ".join(str(getattr(error, "orig", error)).split())
        return fails("database", f"{where}: {redacted(said, settings.serving_url)}. Check [serving] url and its rights")
    finally:
        engine.dispose()
    return ok("database", f"{where} can be written")


def tracking(settings: Settings) -> Check:
    """Whether MLflow's database can be written, or its server answers."""
    uri = settings.tracking_uri
    where = redacted(uri)
    if uri.startswith("sqlite:///"):
        file = Path(uri.removeprefix("sqlite:///").partition("?")[0])
        if not file.is_absolute():
            return fails(
                "tracking", f"{where} is a relative path. Set [mlflow] tracking_uri to sqlite:/// and an absolute one"
            )
        if file.exists():
            writable = os.access(file, os.W_OK)
            return (
                ok("tracking", f"{where} can be written")
                if writable
                else fails("tracking", f"{file} cannot be written")
            )
        return _folder("tracking", file, where)
    if not uri.startswith("http"):
        return warns("tracking", f"{where} is not checked: it is no SQLite file and no web server")
    try:
        with urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=SECONDS):
            return ok("tracking", f"{where} answers")
    except urllib.error.HTTPError as error:
        return warns("tracking", f"{where} answers with {error.code}: is it an MLflow server, and may you use it?")
    except (OSError, ValueError) as error:
        said = redacted(str(getattr(error, "reason", error)), uri)
        return fails("tracking", f"{where} does not answer ({said}). Start it, or mend [mlflow] tracking_uri")


def device(settings: Settings) -> Check:
    """What the networks are trained on."""
    import torch

    return ok(
        "device", f"{torch.cuda.get_device_name() if torch.cuda.is_available() else 'CPU'}, torch {torch.__version__}"
    )


def faiss(settings: Settings) -> Check:
    """What looks up the nearest items."""
    import faiss

    return ok("faiss", f"{faiss.__version__}, {'GPU' if hasattr(faiss, 'StandardGpuResources') else 'CPU'}")


def _folder(name: str, file: Path, where: str) -> Check:
    folder = existing(file.parent)
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        return fails(name, f"{where}: {folder} cannot be written. Change its permissions or the place")
    return ok(name, f"{where} will be made")
