"""A store on an object store: versions are uploaded, then their manifest, then a pointer is written on a condition.

Layout below the address::

    LEASE.json                                        who may publish, until when, with the fencing number
    <table>/current/<as-of>.json                      the pointer: version, and the number of who wrote it
    <table>/<as-of>/<version>/manifest.json           written once, after the files that it lists
    <table>/<as-of>/<version>/<attempt>/data/...      what one attempt uploaded; a later version may list these files too
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any
from uuid import uuid4

from narrows.asof import KNOWN, Asof
from narrows.source.urls import redacted
from narrows.store.conditional import Changed, Objects, reaching
from narrows.store.lease import SECONDS, Lease
from narrows.store.partitions import HOLDER, MANIFEST, VERSION_DIGITS, Store, StoreError, StoreHeld
from narrows.store.remote import Copies, Remote, files_of, link
from narrows.store.shared import alike, digest
from narrows.store.table import Table

POINTERS = "current"
WITHDRAWN = "withdrawn"
BUSY = (POINTERS, WITHDRAWN)
"""Folders of a table that are no as-of."""


@dataclass(frozen=True)
class ObjectStore(Store):
    """All published partitions below an address; ``root`` is the folder of drafts and copies on this machine."""

    address: str = ""
    """Such as ``s3://bucket/prefix``; without credentials."""
    limit: float = inf
    """Bytes of the copies on this machine."""
    lease_seconds: float = SECONDS
    _held: list[Lease] = field(default_factory=list, repr=False, compare=False)

    @property
    def objects(self) -> Objects:
        return Objects(self.address)

    @property
    def copies(self) -> Copies:
        return Copies(self.root.parent, self.limit)

    def find(self, table: str, asof: Asof, fingerprint: str) -> Table | None:
        version = fingerprint[:VERSION_DIGITS]
        found = self.objects.read(f"{table}/{asof}/{version}/{MANIFEST}")
        if not found:
            return None
        meta = dict(found[0])
        files, digests = meta.pop("files"), meta.pop("digests", {})
        remote = Remote(self.objects, self.copies, table, str(asof), version, files, digests)
        return Table(table, asof, version, remote.folder, meta, _remote=remote)

    def current(self, table: str, asof: Asof) -> Table | None:
        found = self.objects.read(_pointer(table, asof))
        return self.find(table, asof, found[0]["version"]) if found else None

    def partitions(self, table: str) -> list[Asof]:
        try:
            with reaching(self.address):
                found = self.objects.fs.ls(self.objects.path(f"{table}/{POINTERS}"), detail=False, refresh=True)
        except FileNotFoundError:
            return []
        return sorted(filter(None, (self._asof(Path(path).stem) for path in found)))

    def publish(self, table: str, asof: Asof, draft: Path, meta: dict[str, Any]) -> Table:
        """Upload a draft, then its manifest, and make it the partition's current version.

        Files that the draft links from an earlier version, or that have the content of such a one, are not uploaded: the
        manifest lists them where they lie.

        Raises:
            StoreError: the lease was taken over, another writer published the partition meanwhile, or no access.
        """
        version = meta["fingerprint"][:VERSION_DIGITS]
        self.lease.require()
        attempt, shares = f"{asof}/{version}/{uuid4().hex[:8]}", meta.get("partitioned_by") == KNOWN
        linked, known = self.copies.linked(table), self._digests(table, asof) if shares else {}
        places, new, digests = {}, {}, {}
        for name, path in files_of(draft):
            stat = path.stat()
            place = linked.get((stat.st_dev, stat.st_ino))
            if shares:
                digests[name] = digest(path)
                place = place or known.get(digests[name])
            places[name] = place or f"{attempt}/{name}"
            if not place:
                new[places[name]] = path
        if new:
            with reaching(self.address):
                paths = [self.objects.path(f"{table}/{place}") for place in new]
                self.objects.fs.put([str(path) for path in new.values()], paths)
        lease = self.lease
        lease.require()
        try:
            files = {"files": places, **({"digests": digests} if shares else {}), "fence": lease.number}
            self.objects.write(f"{table}/{asof}/{version}/{MANIFEST}", {**meta, **files})
            self._keep(table, asof, draft, meta["fingerprint"], new)
        except Changed:  # the same fingerprint is the same table: what was published first stays
            shutil.rmtree(draft)
        self.point(table, asof, meta["fingerprint"])
        existing = self.find(table, asof, meta["fingerprint"])
        assert existing is not None
        return existing

    def point(self, table: str, asof: Asof, fingerprint: str) -> None:
        version, key = fingerprint[:VERSION_DIGITS], _pointer(table, asof)
        value, tag = self.objects.read(key) or ({}, None)
        if value.get("version") == version:
            return
        lease = self.lease
        lease.require()
        if value.get("fence", 0) > lease.number:
            raise StoreHeld(self._overtaken(table, asof))
        try:
            self.objects.write(key, {"version": version, "fence": lease.number}, tag)
        except Changed:
            raise StoreHeld(self._overtaken(table, asof)) from None

    @contextmanager
    def lock(self, what: str) -> Iterator[None]:
        """Hold the lease of the store for one run; it ends by itself soon after its holder died.

        A child process of the holder passes through: it finds the holder's token in its environment.

        Raises:
            StoreError: another run holds it; says which.
        """
        lease = Lease(self.objects, self.lease_seconds)
        if lease.join(os.environ.get(HOLDER, "")):
            self._held.append(lease)
            try:
                yield
            finally:
                self._held.remove(lease)
            return
        lease.take(what)
        self._held.append(lease)
        os.environ[HOLDER] = lease.token
        try:
            yield
        finally:
            os.environ.pop(HOLDER, None)
            self._held.remove(lease)
            lease.release()

    @property
    def lease(self) -> Lease:
        """The lease that this process, or its parent, holds.

        Raises:
            StoreError: it holds none.
        """
        if not self._held:
            raise StoreError(
                f"nothing is published to {redacted(self.address)} without its lease: hold the store's lock"
            )
        return self._held[-1]

    def _digests(self, table: str, asof: Asof) -> dict[str, str]:
        """Where files lie in the table's folder, by their content, of the partitions that may have some in common."""
        remotes = [other._remote for other in alike(self, table, asof) if other._remote]
        return {content: each.places[name] for each in remotes for name, content in each.digests.items()}

    def _keep(self, table: str, asof: Asof, draft: Path, fingerprint: str, new: dict[str, Path]) -> None:
        """Let the draft's files be this machine's copies of what was uploaded."""
        for place, path in new.items():
            copy = self.copies.object(table, place)
            copy.parent.mkdir(parents=True, exist_ok=True)
            link(path, copy)
        folder = self.folder(table, asof, fingerprint)
        if folder.exists():
            shutil.rmtree(folder)
        draft.rename(folder)
        self.copies.drop()

    def _overtaken(self, table: str, asof: Asof) -> str:
        return (
            f"another run published {table} as of {asof} on {redacted(self.address)} meanwhile: its version stands, and this "
            "one was not made current. Run again when the other run is done."
        )


def _pointer(table: str, asof: Asof) -> str:
    return f"{table}/{POINTERS}/{asof}.json"
