"""Partitions of tables in a folder: draft, publish, find by fingerprint.

Layout: ``<root>/<table>/<asof>/<version>/{data/,model/,manifest.json}`` and ``<root>/<table>/<asof>/CURRENT``.
The manifest is written last, inside a draft that one rename publishes: a folder with a manifest is whole.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from narrows.asof import DAY, KNOWN, Asof
from narrows.store.shared import alike, link_same
from narrows.store.table import Table
from narrows.temporary import Temporary

if TYPE_CHECKING:
    from narrows.settings import Settings

LOG = logging.getLogger(__name__)
VERSION_DIGITS = 16
CURRENT = "CURRENT"
"""The file that names the version of a partition that readers get."""
MANIFEST = "manifest.json"
HOLDER = "NARROWS_LOCK_HOLDER"
"""The environment variable by which the children of who holds the store are known."""


class StoreError(RuntimeError):
    """The store cannot do what was asked; the message names the remedy."""


class StoreHeld(StoreError, Temporary):
    """Another run holds the store, or its place is away: a later try may find it free."""


@dataclass(frozen=True)
class Store:
    """All published partitions of all tables below ``root``."""

    root: Path
    grain: timedelta = DAY

    def folder(self, table: str, asof: Asof, version: str) -> Path:
        return self.root / table / str(asof) / version[:VERSION_DIGITS]

    def find(self, table: str, asof: Asof, fingerprint: str) -> Table | None:
        """The published version with this fingerprint, or None."""
        return self._open(table, asof, self.folder(table, asof, fingerprint))

    def current(self, table: str, asof: Asof) -> Table | None:
        """The version of the partition that was published (or found again) last, or None."""
        pointer = self.root / table / str(asof) / CURRENT
        if not pointer.exists():
            return None
        return self._open(table, asof, pointer.parent / pointer.read_text().strip())

    def partitions(self, table: str) -> list[Asof]:
        """Every partition of the table, in this grain, that has a current version, oldest first."""
        return sorted(filter(None, (self._asof(path.parent.name) for path in (self.root / table).glob(f"*/{CURRENT}"))))

    def draft(self, table: str, asof: Asof, fingerprint: str) -> Path:
        """An empty folder beside the published ones that no reader looks at.

        What a killed run left of any version is removed: who holds the store's lock knows that nobody writes it.
        """
        folder = self.folder(table, asof, fingerprint)
        draft = folder.with_name(f".draft-{folder.name}-{os.getpid()}")
        for stale in folder.parent.glob(".draft-*"):
            shutil.rmtree(stale)
        (draft / "data").mkdir(parents=True)
        return draft

    def publish(self, table: str, asof: Asof, draft: Path, meta: dict[str, Any]) -> Table:
        """Make a draft the partition's current version; one rename, so readers see all of it or nothing.

        What serves earlier as-ofs shares the files that it has in common with what was published before.
        """
        if meta.get("partitioned_by") == KNOWN:
            link_same(draft / "data", alike(self, table, asof))
        write_json(draft / MANIFEST, meta)
        folder = self.folder(table, asof, meta["fingerprint"])
        if folder.exists() and not (folder / MANIFEST).exists():
            shutil.rmtree(folder)  # damaged from outside: nobody can read it
        if folder.exists():  # the same fingerprint is the same table: keep the older copy, readers may hold it
            shutil.rmtree(draft)
        else:
            draft.rename(folder)
        self.point(table, asof, meta["fingerprint"])
        existing = self.find(table, asof, meta["fingerprint"])
        assert existing is not None
        return existing

    def point(self, table: str, asof: Asof, fingerprint: str) -> None:
        """Let the partition's current version be the one with this fingerprint."""
        pointer = self.root / table / str(asof) / CURRENT
        text = fingerprint[:VERSION_DIGITS]
        if not pointer.exists() or pointer.read_text() != text:
            write_text(pointer, text)

    @contextmanager
    def lock(self, what: str) -> Iterator[None]:
        """Hold the store for one run; the kernel lets go when the holder dies, however it dies.

        A child process of the holder (a DAG's task) passes through: it finds the holder's id in its environment.

        Raises:
            StoreError: another run holds it; says which.
        """
        from filelock import FileLock, Timeout

        self.root.mkdir(parents=True, exist_ok=True)
        path = self.root / "LOCK"
        lock = FileLock(path, fallback_to_soft=False)  # a lock by existence would outlive a killed holder
        try:
            lock.acquire(blocking=False)
        except Timeout:
            holder = json.loads(path.read_text() or "{}")
            if os.environ.get(HOLDER) == str(holder.get("pid")):
                yield
                return
            raise StoreHeld(
                f"another run holds {self.root}: process {holder.get('pid')} on {holder.get('host')} "
                f"({holder.get('what')}). Wait for it, or end that process; the lock goes with it."
            ) from None
        if path.read_text():  # who ends by itself empties it
            LOG.warning("the last run was killed, by somebody or because memory ran out; see [engine] memory")
        try:
            path.write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "what": what}))
            os.environ[HOLDER] = str(os.getpid())
            yield
        finally:
            os.environ.pop(HOLDER, None)
            path.write_text("")
            lock.release()

    def _asof(self, text: str) -> Asof | None:
        """The as-of that a folder is named after; None for one of another grain."""
        try:
            asof = Asof.parse(text, self.grain)
        except ValueError:
            return None
        return asof if str(asof) == text else None

    def _open(self, table: str, asof: Asof, folder: Path) -> Table | None:
        manifest = folder / MANIFEST
        if not manifest.exists():
            return None
        return Table(table, asof, folder.name, folder, json.loads(manifest.read_text()))


def open_store(settings: Settings) -> Store:
    """The tables that the settings name, in their grain."""
    return open_tables(settings.tables, settings.state, settings.source.grain_length, settings.store.cache_gb)


def open_tables(tables: str | Path, state: Path, grain: timedelta = DAY, cache_gb: float = inf) -> Store:
    """The tables in a folder, or below an address.

    Args:
        tables: a folder, or an address such as ``s3://bucket/prefix``.
        state: the state folder, where copies of what lies elsewhere are kept.
        grain: of the as-ofs.
        cache_gb: how much of them.
    """
    if "://" not in str(tables):
        return Store(Path(tables), grain)
    from narrows.store.objects import ObjectStore

    copies = state / "cache" / hashlib.sha256(str(tables).encode()).hexdigest()[:VERSION_DIGITS]
    return ObjectStore(copies / "tables", grain, str(tables), cache_gb * 1e9)


def write_text(path: Path, text: str) -> None:
    """Replace a small file in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}-{os.getpid()}")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def write_json(path: Path, value: Any) -> None:
    """Replace a JSON file in one step."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True, default=str))
