"""The leftovers of a store on an object store: versions, and files that no manifest lists."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from narrows.store.conditional import reaching
from narrows.store.garbage import Leftover, Version, kept_in, version_of
from narrows.store.objects import BUSY, POINTERS, WITHDRAWN, ObjectStore
from narrows.store.partitions import MANIFEST

Partition = tuple[str, str]


@dataclass
class ObjectGarbage:
    """The versions below an address, and what of them is left over; see `narrows.store.garbage`.

    A version goes by its manifest first, then by those of its files that no other manifest lists. Files that no manifest
    lists are of an attempt that a kill ended, or of a version that went, and were listed by one that has gone since.
    """

    store: ObjectStore
    grace: timedelta = timedelta(hours=1)
    _manifests: dict[str, dict[str, Any]] = field(default_factory=dict, repr=False)

    @cached_property
    def _files(self) -> dict[str, tuple[int, float]]:
        """Every object by its key: its size, and when it was written, in seconds since 1970."""
        objects = self.store.objects
        root = objects.path("").rstrip("/")
        try:
            with reaching(self.store.address):
                found = objects.fs.find(root, detail=True, refresh=True)
        except FileNotFoundError:
            return {}
        return {path[len(root) :].lstrip("/"): (info["size"], _written(info)) for path, info in found.items()}

    @cached_property
    def _pointers(self) -> dict[Partition, tuple[str, float]]:
        """The current version of each partition, and when the pointer was written; empty = withdrawn."""
        found: dict[Partition, tuple[str, float]] = {}
        for key, (_, written) in self._files.items():
            table, _, rest = key.partition("/")
            folder, _, name = rest.partition("/")
            if (
                folder in BUSY
                and name[:1] != "."
                and (folder == POINTERS or (table, name.removesuffix(".json")) not in found)
            ):
                read = self.store.objects.read(key) if folder == POINTERS else None
                found[table, name.removesuffix(".json")] = (read[0]["version"] if read else "", written)
        return found

    def _versions(self) -> dict[tuple[str, str, str], dict[str, Any]]:
        """The manifest of every version, by table, as-of and name."""
        keys = [key for key in self._files if key.count("/") == 3 and key.endswith(f"/{MANIFEST}")]
        for key in keys:
            if key not in self._manifests and (read := self.store.objects.read(key)):
                self._manifests[key] = read[0]
        return {tuple(key.split("/")[:3]): self._manifests[key] for key in keys if key in self._manifests}  # type: ignore[misc]

    def versions(self) -> list[Version]:
        """Every whole version, by table, as-of and name."""
        return [
            version_of(table, asof, name, self._pointers.get((table, asof), ("", 0.0))[0], meta)
            for (table, asof, name), meta in sorted(self._versions().items())
        ]

    def leftovers(self, needed: Collection[str]) -> list[Leftover]:
        """What is neither one of the ``needed`` versions nor beside one under its partition's pointer."""
        versions = self._versions()
        partitions: dict[Partition, set[str]] = {}
        for table, asof, name in versions:
            partitions.setdefault((table, asof), set()).add(name)
        keep = {
            (*partition, name)
            for partition, names in partitions.items()
            for name in kept_in(names, needed, self._pointers.get(partition, ("", 0.0))[0])
        }
        stay = _listed({key: meta for key, meta in versions.items() if key in keep})
        listed, sizes = _listed(versions), dict.fromkeys(versions, 0)
        found = []
        for key, (size, written) in sorted(self._files.items()):
            version = tuple(key.split("/")[:3])
            if key.count("/") < 3 or version[1] in BUSY or key in stay or (version in keep and key.endswith(MANIFEST)):
                continue
            if version in versions and version not in keep and (key in listed or key.endswith(f"/{MANIFEST}")):
                sizes[version] += size
            elif key not in listed and written <= time.time() - self.grace.total_seconds():
                found.append(Leftover("unlisted", version[0], version[1], "/".join(key.split("/")[2:]), size))
        for (table, asof, name), size in sizes.items():
            if (table, asof, name) not in keep:
                pointer, written = self._pointers.get((table, asof), ("", 0.0))
                recent = bool(self.grace) and (bool(pointer and pointer not in needed and (table, asof, pointer) not in keep)
                          or written > time.time() - self.grace.total_seconds())  # fmt: skip
                found.append(Leftover("version", table, asof, name, size, not recent))
        return sorted(found, key=lambda each: (each.table, each.asof, each.name))

    def remove(self, leftovers: Collection[Leftover]) -> list[Leftover]:
        """Withdraw the pointers of partitions that go whole, and remove what is ready; returns what was removed."""
        objects, lease = self.store.objects, self.store.lease
        lease.require()
        going = {(each.table, each.asof, each.name) for each in leftovers if each.kind == "version"}
        for (table, asof), (current, _) in self._pointers.items():
            if current and (table, asof, current) in going:
                mark = objects.read(f"{table}/{WITHDRAWN}/{asof}.json")
                objects.write(f"{table}/{WITHDRAWN}/{asof}.json", {"was": current, "at": time.time()}, mark and mark[1])
                self._delete([f"{table}/{POINTERS}/{asof}.json"])
        done = [each for each in leftovers if each.ready]
        gone = {(each.table, each.asof, each.name) for each in done if each.kind == "version"}
        versions = self._versions()
        self._delete([f"{'/'.join(version)}/{MANIFEST}" for version in gone])
        lease.require()
        stay = _listed({key: meta for key, meta in versions.items() if key not in gone})
        files = [f"{each.table}/{each.asof}/{each.name}" for each in done if each.kind == "unlisted"]
        files += [
            key for key in _listed({key: versions[key] for key in gone}) if key not in stay and key in self._files
        ]
        self._delete(files)
        left = {version[:2] for version in versions if version not in gone}
        marks = [key for key in self._files if key.split("/")[1:2] == [WITHDRAWN]]
        self._delete([key for key in marks if (key.split("/")[0], key.split("/")[2].removesuffix(".json")) not in left])
        return done

    def size(self) -> int:
        """Bytes of all objects."""
        return sum(size for size, _ in self._files.values())

    def _delete(self, keys: Collection[str]) -> None:
        objects = self.store.objects
        if keys:
            with reaching(self.store.address):
                objects.fs.rm([objects.path(key) for key in keys])


def _listed(versions: dict[tuple[str, str, str], dict[str, Any]]) -> set[str]:
    """The keys of the files that manifests list."""
    return {f"{table}/{place}" for (table, _, _), meta in versions.items() for place in meta["files"].values()}


def _written(info: dict[str, Any]) -> float:
    """When an object was written, as its file system tells it."""
    when = info.get("LastModified") or info.get("created") or info.get("mtime") or 0.0
    if isinstance(when, datetime):
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    return float(info.get("mtime") or when)
