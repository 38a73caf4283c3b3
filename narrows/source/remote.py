"""Remote files as local ones: a file is fetched once, and again when its content changes."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any
from uuid import uuid4

CHECKSUMS = ("ETag", "Content-MD5", "Digest", "Last-Modified")
"""What a web server may say of a file's content; fsspec keeps these names."""


def version(fs: Any, name: str) -> str | None:
    """What changes when the remote file does, as its file system says; None where a web server says nothing."""
    from fsspec.implementations.http import HTTPFileSystem

    if not isinstance(fs, HTTPFileSystem):
        return str(fs.ukey(name))
    info = fs.info(name)  # not its ukey: that is made of the URL alone
    said = [info.get(key) for key in CHECKSUMS]
    return str([info["size"], *said]) if any(said) else None


def fetched(fs: Any, url: str, name: str, stamp: str | None, cache: Path) -> Path:
    """The local copy of ``name``, below a folder that is named after its version (or, without one, its content)."""

    def place(stamp: str) -> Path:
        return cache / hashlib.sha256(f"{url}{name}{stamp}".encode()).hexdigest()[:16] / Path(name).name

    if stamp and place(stamp).exists():
        return place(stamp)
    cache.mkdir(parents=True, exist_ok=True)
    part = cache / f".{uuid4().hex}"
    try:
        fs.get(name, str(part))
        if not stamp:
            with part.open("rb") as content:
                stamp = hashlib.file_digest(content, "sha256").hexdigest()
        local = place(stamp)
        local.parent.mkdir(exist_ok=True)
        part.replace(local)
    finally:
        part.unlink(missing_ok=True)
    return local
