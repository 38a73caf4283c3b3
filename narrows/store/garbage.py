"""What lies in a store and nobody needs: looked up, withdrawn, removed. Only for who holds the store's lock.

Two steps keep readers safe, who hold no lock. A partition of which nothing is needed loses its pointer first; its versions
go once no pointer has named them for a grace period, in the same call or a later one. A version is removed by a rename to
a hidden name, then deleted: what a kill leaves of it is deleted by the next call.
"""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from narrows.asof import start_of
from narrows.store.partitions import CURRENT, MANIFEST, Store

WITHDRAWN = ".WITHDRAWN"
"""The pointer of a partition that is about to go; its time is that of the withdrawal."""
REMOVED = ".removed-"
DRAFTS = (".draft-", f".{CURRENT}-")
"""What begins the name of a draft, of a partition or of its pointer."""


@dataclass(frozen=True)
class Version:
    """One published version of a partition, as its manifest has it."""

    table: str
    asof: str
    name: str
    """The first 16 hex digits of its fingerprint."""
    inputs: dict[str, Any] = field(repr=False)
    """The versions that were read to make it, by parameter; of earlier partitions by as-of."""
    past: bool = False
    """Made for the past of a first run."""
    is_current: bool = False

    @property
    def start(self) -> datetime:
        """The start of the period that its as-of names."""
        return start_of(self.asof)


@dataclass(frozen=True)
class Leftover:
    """Something that nobody needs."""

    kind: str
    """``version``; ``draft``, ``removed``, ``damaged`` and ``unlisted``: what a kill left, or somebody's hand."""
    table: str
    asof: str
    name: str
    size: int
    """Bytes that are free once all leftovers are gone; files that a needed version links count for nothing."""
    ready: bool = True
    """False: a reader may have opened it under a pointer that named it less than the grace period ago."""


@dataclass(frozen=True)
class Garbage:
    """The versions of a store in folders, and what of them is left over."""

    store: Store
    grace: timedelta = timedelta(hours=1)

    def versions(self) -> list[Version]:
        """Every whole version, by table, as-of and name."""
        found = []
        for folder in self._partitions():
            current = self._current(folder)
            for path in filter(lambda path: (path / MANIFEST).exists(), _folders(folder)):
                meta = json.loads((path / MANIFEST).read_text())
                found.append(version_of(folder.parent.name, folder.name, path.name, current, meta))
        return found

    def leftovers(self, needed: Collection[str]) -> list[Leftover]:
        """What is neither one of the ``needed`` versions nor beside one under its partition's pointer."""
        found: list[tuple[Leftover, Path]] = []
        for folder in self._partitions():
            table, asof = folder.parent.name, folder.name
            keep = kept_in({path.name for path in _folders(folder)}, needed, self._current(folder))
            ready = not self._may_be_read(folder) and not (self.grace and self._is_to_go(folder, keep))
            for path in sorted(folder.iterdir()):
                if kind := _kind(path, keep):
                    found.append((Leftover(kind, table, asof, path.name, 0, ready or kind != "version"), path))
        sizes = _freed([path for _, path in found])
        return [
            Leftover(each.kind, each.table, each.asof, each.name, size, each.ready)
            for (each, _), size in zip(found, sizes, strict=True)
        ]

    def remove(self, leftovers: Collection[Leftover]) -> list[Leftover]:
        """Withdraw the pointers of partitions that go whole, and remove what is ready; returns what was removed."""
        going = {(each.table, each.asof, each.name) for each in leftovers}
        for folder in self._partitions():
            if (current := self._current(folder)) and (folder.parent.name, folder.name, current) in going:
                (folder / CURRENT).touch()  # first: after a kill here the grace period is rather too long
                (folder / CURRENT).replace(folder / WITHDRAWN)
        done = []
        for each in leftovers:
            folder = self.store.root / each.table / each.asof
            if each.kind == "version" and self._may_be_read(folder):
                continue  # also one whose pointer was withdrawn just now
            path = folder / each.name
            if path.is_dir():
                if each.kind != "removed":
                    path = path.rename(folder / f"{REMOVED}{each.name.removeprefix('.')}")
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
            done.append(each)
        for folder in self._partitions():
            if not _folders(folder) and not (folder / CURRENT).exists():
                (folder / WITHDRAWN).unlink(missing_ok=True)
                if not any(folder.iterdir()):
                    folder.rmdir()
                    if not any(folder.parent.iterdir()):
                        folder.parent.rmdir()
        return done

    def size(self) -> int:
        """Bytes of all files, each once however many versions link it."""
        files = {(stat.st_dev, stat.st_ino): stat.st_size for _, stat in _files([self.store.root])}
        return sum(files.values())

    def _partitions(self) -> Iterator[Path]:
        if self.store.root.is_dir():
            for table in _folders(self.store.root):
                yield from _folders(table)

    def _current(self, folder: Path) -> str:
        pointer = folder / CURRENT
        return pointer.read_text().strip() if pointer.exists() else ""

    def _is_to_go(self, folder: Path, keep: Collection[str]) -> bool:
        """Whether the partition's pointer has yet to be withdrawn, for nothing of it is kept."""
        return not keep and (folder / CURRENT).exists()

    def _may_be_read(self, folder: Path) -> bool:
        """Whether a pointer began or ceased to name one of the versions within the grace period."""
        pointers = [pointer for pointer in (folder / CURRENT, folder / WITHDRAWN) if pointer.exists()]
        since = time.time() - self.grace.total_seconds()
        return bool(self.grace and pointers and pointers[0].stat().st_mtime > since)


def version_of(table: str, asof: str, name: str, current: str, meta: dict[str, Any]) -> Version:
    """A version as its manifest has it."""
    return Version(table, asof, name, meta.get("inputs", {}), meta.get("past", False), name == current)


def kept_in(names: Collection[str], needed: Collection[str], current: str) -> set[str]:
    """The versions of a partition that stay: where one is needed, its pointer stays too, and what that names."""
    keep = {name for name in names if name in needed}
    return keep | {current} if keep and current else keep


def _kind(path: Path, keep: Collection[str]) -> str:
    """What kind of leftover a file or folder of a partition is; empty = none."""
    if path.name.startswith(DRAFTS):
        return "draft"
    if path.name.startswith(REMOVED):
        return "removed"
    if not path.is_dir() or path.name.startswith(".") or path.name in keep:
        return ""
    return "version" if (path / MANIFEST).exists() else "damaged"


def _folders(path: Path) -> list[Path]:
    """The folders in a folder that have no hidden name."""
    return sorted(each for each in path.iterdir() if each.is_dir() and not each.name.startswith("."))


def _files(paths: Collection[Path]) -> Iterator[tuple[int, Any]]:
    """Every file at or below the paths, with the place in ``paths`` that it lies at."""
    for at, path in enumerate(paths):
        for file in path.rglob("*") if path.is_dir() else [path]:
            if not file.is_dir():
                yield at, file.lstat()


def _freed(paths: list[Path]) -> list[int]:
    """Bytes that are free once all the paths are gone, by path; a file of several of them counts at the last."""
    links: Counter[tuple[int, int]] = Counter()
    last: dict[tuple[int, int], tuple[int, Any]] = {}
    for at, stat in _files(paths):
        links[stat.st_dev, stat.st_ino] += 1
        last[stat.st_dev, stat.st_ino] = at, stat
    sizes = [0] * len(paths)
    for inode, (at, stat) in last.items():
        if links[inode] >= stat.st_nlink:
            sizes[at] += stat.st_size
    return sizes


def garbage_of(store: Store, grace: timedelta) -> Any:
    """The leftovers of a store, whatever it lies on: a `Garbage`, or what does the same on an object store."""
    if type(store) is Store:
        return Garbage(store, grace)
    from narrows.store.object_garbage import ObjectGarbage

    return ObjectGarbage(store, grace)  # type: ignore[arg-type]
