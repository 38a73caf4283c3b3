"""The files of versions that lie on an object store, and the copies of them on this machine.

A version's manifest lists its files: where each belongs within the version, and where it lies in the table's folder. So a
version may hold files of earlier ones, and each is stored once. Versions never change, so a copy is never out of date.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from narrows.store.conditional import Objects, reaching

if TYPE_CHECKING:
    import pyarrow.dataset as ds

IN_USE_SECONDS = 3600
"""A copy that was opened so recently is not dropped: Spark or another process may still read it."""


@dataclass(frozen=True)
class Copies:
    """Files of an object store on this machine: ``objects/`` by their place there, ``tables/`` linked into versions."""

    root: Path
    limit: float
    """Bytes above which the copies that were not opened for longest are dropped; one version may be larger."""

    def version(self, table: str, asof: str, version: str) -> Path:
        """The folder of a version, with its ``data``, ``model`` and side tables as far as they were fetched."""
        return self.root / "tables" / table / asof / version

    def object(self, table: str, place: str) -> Path:
        """The copy of a file by its place in the table's folder."""
        return self.root / "objects" / table / place

    def linked(self, table: str) -> dict[tuple[int, int], str]:
        """The place of every copied file of a table by its inode: a draft that links one has the same content."""
        root = self.root / "objects" / table
        found = {}
        for path in root.rglob("*"):
            if path.is_file():
                stat = path.stat()
                found[stat.st_dev, stat.st_ino] = path.relative_to(root).as_posix()
        return found

    def drop(self) -> None:
        """Drop what was not opened for longest, until the copies fit their limit."""
        used = sum(stat.st_size for stat in _inodes(self.root).values())
        if used <= self.limit:
            return
        versions = sorted((path.stat().st_mtime, path) for path in (self.root / "tables").glob("*/*/*"))
        for opened, path in versions:
            if opened > time.time() - IN_USE_SECONDS or used <= self.limit or path.name.startswith("."):
                continue
            gone = path.with_name(f".removed-{path.name}-{uuid4().hex[:8]}")
            path.rename(gone)
            shutil.rmtree(gone)
            for copy in (self.root / "objects" / path.parent.parent.name).rglob("*"):
                stat = copy.stat()
                if copy.is_file() and stat.st_nlink == 1 and stat.st_mtime < time.time() - IN_USE_SECONDS:
                    used -= stat.st_size  # not one that another process fetched just now, to link it
                    copy.unlink()


@dataclass(frozen=True)
class Remote:
    """The files of one version on an object store."""

    objects: Objects
    copies: Copies
    table: str
    asof: str
    version: str
    places: dict[str, str]
    """Where each file lies in the table's folder, by where it belongs in the version: ``data/known=…/part-00000.parquet``."""
    digests: dict[str, str]
    """A hash of each file's content, of a table whose partitions share files."""

    @property
    def folder(self) -> Path:
        """The version's folder on this machine."""
        return self.copies.version(self.table, self.asof, self.version)

    @property
    def kinds(self) -> list[str]:
        """``data``, ``model`` and the side tables that the version has."""
        return sorted({place.partition("/")[0] for place in self.places})

    def dataset(self, kind: str) -> ds.Dataset:
        """The files of a table as an Arrow dataset: of the copy, where there is one, else read where they lie."""
        import pyarrow.dataset as ds

        if copy := self._copy(kind):
            return ds.dataset(copy, format="parquet", partitioning="hive")
        files = [self._path(place) for name, place in sorted(self.places.items()) if name.startswith(f"{kind}/")]
        base = self.objects.path(self.table)
        with reaching(self.objects.address):
            return ds.dataset(
                [file for file in files if file.endswith(".parquet")],
                format="parquet", partitioning="hive", filesystem=self.objects.fs, partition_base_dir=base,
            )  # fmt: skip

    def file(self, kind: str, name: str) -> tuple[str, Any]:
        """A file of a table: its path and its file system; None = this machine's."""
        if copy := self._copy(kind):
            return str(copy / name), None
        if f"{kind}/{name}" not in self.places:
            raise FileNotFoundError(f"{self.table} as of {self.asof}, version {self.version}, has no {kind}/{name}")
        return self._path(self.places[f"{kind}/{name}"]), self.objects.fs

    def fetched(self, kind: str) -> Path:
        """The folder of a table, or of the model, on this machine; what is missing of it is fetched.

        Raises:
            StoreError: the store cannot be reached.
        """
        folder = self.folder / kind
        if not folder.is_dir():
            wanted = {name: place for name, place in self.places.items() if name.startswith(f"{kind}/")}
            self.fetch(wanted.values())
            draft = folder.with_name(f".fetching-{kind}-{uuid4().hex[:8]}")
            draft.mkdir(parents=True)
            for name, place in wanted.items():
                target = draft / name.partition("/")[2]
                target.parent.mkdir(parents=True, exist_ok=True)
                link(self.copies.object(self.table, place), target)
            try:
                draft.rename(folder)
            except OSError:  # another process was first
                shutil.rmtree(draft)
        os.utime(self.folder)
        self.copies.drop()
        return folder

    def fetch(self, places: Collection[str]) -> None:
        """Copy files of the table's folder to this machine; each appears there whole."""
        missing = [place for place in dict.fromkeys(places) if not self.copies.object(self.table, place).exists()]
        if not missing:
            return
        targets = [self.copies.object(self.table, place) for place in missing]
        parts = [target.with_name(f".{target.name}-{uuid4().hex[:8]}") for target in targets]
        for part in parts:
            part.parent.mkdir(parents=True, exist_ok=True)
        with reaching(self.objects.address):
            self.objects.fs.get([self._path(place) for place in missing], [str(part) for part in parts])
        for part, target in zip(parts, targets, strict=True):
            part.replace(target)

    def _copy(self, kind: str) -> Path | None:
        """The folder of a table on this machine, if it is there."""
        folder = self.folder / kind
        if not folder.is_dir():
            return None
        os.utime(self.folder)
        return folder

    def _path(self, place: str) -> str:
        return self.objects.path(f"{self.table}/{place}")


def link(file: Path, target: Path) -> None:
    """The same file by another name, or a copy where a file system has no links."""
    try:
        os.link(file, target)
    except OSError:
        shutil.copyfile(file, target)


def files_of(folder: Path) -> Iterator[tuple[str, Path]]:
    """Every file that a draft publishes: where it belongs in the version, and where it lies."""
    for path in sorted(folder.rglob("*")):
        place = path.relative_to(folder)
        if path.is_file() and (place.parts[0] == "model" or not place.name.startswith((".", "_"))):  # Spark's marks
            yield place.as_posix(), path


def _inodes(root: Path) -> dict[tuple[int, int], os.stat_result]:
    stats = [path.stat() for path in root.rglob("*") if path.is_file()]
    return {(stat.st_dev, stat.st_ino): stat for stat in stats}
