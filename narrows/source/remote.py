"""The files that a path or URL means, as local ones: a remote file is fetched once, and again when its content changes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit
from uuid import uuid4

from narrows.source.errors import SourceAway, SourceError
from narrows.source.packages import PACKAGE, WHEEL, installed, wheel_member
from narrows.source.urls import redacted
from narrows.temporary import fetch_mends_itself

CHECKSUMS = ("ETag", "Content-MD5", "Digest", "Last-Modified")
"""What a web server may tell of a file's content; fsspec keeps these names."""


@dataclass(frozen=True)
class Location:
    """Where a source's paths start and its remote files are kept."""

    base: Path
    """Where relative paths start."""
    cache: Path
    """Where remote files and downloads are kept."""
    _unversioned: dict[str, Path] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Fetched files of which the server tells no version: within a run they stay the same."""

    def files(self, url: str) -> list[Path]:
        """The local files that ``url`` means; remote ones are fetched when they change.

        Args:
            url: a path, folder, glob or fsspec URL, or a file in a package (``package://``) or wheel (``wheel://``).

        Raises:
            SourceError: nothing is there, or it cannot be reached.
        """
        place = self._place(url)
        if "://" not in place and Path(place).is_file():
            return [Path(place)]  # most sources, without a tenth of a second to import fsspec

        from fsspec.implementations.local import LocalFileSystem

        fs, names = self._names(url, place)
        if isinstance(fs, LocalFileSystem):
            return [Path(name) for name in names]
        return [self._fetched(fs, url, name) for name in names]

    def stamp(self, url: str, file: Path) -> int | str:
        """What changes with the content of ``file``, one of the files of ``url``, beside its name and size."""
        if self.cache in file.parents:  # the folder of a fetched file carries its version
            return file.parent.name
        # a file inside an installed package is as old as its installation: its size must do
        return 0 if url.startswith(PACKAGE) else file.stat().st_mtime_ns

    def _place(self, url: str) -> str:
        """The path or fsspec URL that ``url`` means."""
        if url.startswith(PACKAGE):
            return installed(url)
        if url.startswith(WHEEL):
            return wheel_member(url, self.cache)
        return url if "://" in url else str(self.base / url)

    def _names(self, url: str, place: str) -> tuple[Any, list[str]]:
        """The file system and the names in it."""
        import fsspec
        from fsspec.core import has_magic

        try:
            fs, path = fsspec.core.url_to_fs(place)
            names = [path] if fs.exists(path) else sorted(fs.glob(path)) if has_magic(path) else []
            if len(names) == 1 and fs.isdir(names[0]):
                names = sorted(name for name in fs.find(names[0]) if not _hidden(name.removeprefix(names[0])))
        except Exception as error:  # of any library behind fsspec
            _refuse("look at", url, url, error)
        if not names:
            raise SourceAway(
                f"[source] no file at {redacted(url if '://' in url else place)}. Check the path in [source]; relative "
                f"paths start at {self.base}."
            )
        return fs, names

    def _fetched(self, fs: Any, url: str, name: str) -> Path:
        try:
            stamp = version(fs, name)
            file = self._unversioned.get(name) or fetched(fs, url, name, stamp, self.cache)
        except Exception as error:  # of any library behind fsspec
            _refuse("fetch", name, url, error)
        if not stamp:
            self._unversioned[name] = file
        return file


def _hidden(below: str) -> bool:
    """Whether a file, or a folder that it is in, is one that readers pass over: drafts, checkpoints, marks."""
    return any(part[0] in "._" for part in below.split("/") if part)


def _refuse(verb: str, name: str, url: str, error: Exception) -> NoReturn:
    """Say without its credentials why a place cannot be reached; the error itself may show them, so it is not chained."""
    reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
    kind = SourceAway if fetch_mends_itself(error) else SourceError
    raise kind(f"[source] {redacted(f'cannot {verb} {name}: {reason}', url)}") from None


def version(fs: Any, name: str) -> str | None:
    """What changes when the remote file does, as its file system tells; None where a web server tells nothing."""
    from fsspec.archive import AbstractArchiveFileSystem
    from fsspec.implementations.http import HTTPFileSystem

    if isinstance(fs, AbstractArchiveFileSystem):
        return str(fs.info(name))  # not its ukey: that is made of the archive's place in memory
    if not isinstance(fs, HTTPFileSystem):
        return str(fs.ukey(name))
    info = fs.info(name)  # not its ukey: that is made of the URL alone
    checksums = [info.get(key) for key in CHECKSUMS]
    return str([info["size"], *checksums]) if any(checksums) else None


def fetched(fs: Any, url: str, name: str, stamp: str | None, cache: Path) -> Path:
    """The local copy of ``name``, below a folder that is named after its version (or, without one, its content)."""
    path = urlsplit(name).path if "://" in name else name  # a web address may end in a query

    def place(stamp: str) -> Path:
        return cache / hashlib.sha256(f"{url}{name}{stamp}".encode()).hexdigest()[:16] / Path(path).name

    if stamp and place(stamp).exists():
        return place(stamp)
    cache.mkdir(parents=True, exist_ok=True)
    part = cache / f".{uuid4().hex}"
    try:
        fs.get_file(name, str(part))  # not get: that takes the question mark of a query for a glob
        if not stamp:
            with part.open("rb") as content:
                stamp = hashlib.file_digest(content, "sha256").hexdigest()
        local = place(stamp)
        local.parent.mkdir(exist_ok=True)
        part.replace(local)
    finally:
        part.unlink(missing_ok=True)
    return local
