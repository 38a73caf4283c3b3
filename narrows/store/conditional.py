"""Small objects that are replaced only while they are as they were read: what publishing on an object store rests on."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from narrows.source.urls import redacted
from narrows.store.partitions import StoreError, StoreHeld, write_text
from narrows.temporary import fetch_mends_itself

CONFLICTS = (409, 412)
"""What S3 answers where a condition does not hold, or another write came between."""
IN_MEMORY = threading.Lock()


class Changed(Exception):
    """The object is not as it was read: another writer was first."""


@cache
def filesystem(protocol: str) -> Any:
    """The file system of an address; S3 takes credentials, region and endpoint from the environment, as its SDK does.

    Raises:
        StoreError: its package is not installed.
    """
    import fsspec

    options: dict[str, Any] = {"file": {"auto_mkdir": True}, "s3": {"use_listings_cache": False}}.get(protocol, {})
    try:
        return fsspec.filesystem(protocol, skip_instance_cache=True, **options)
    except ImportError:
        raise StoreError(
            f"[store] tables on {protocol}:// needs the Python package {protocol}fs. Run: "
            f"pip install -e '.[{protocol}]' -c constraints.txt"
        ) from None


@contextmanager
def reaching(address: str) -> Iterator[None]:
    """Say in one line that the store's address cannot be reached, and why, without what is secret in it.

    Raises:
        StoreError: an error of any library behind fsspec but a missing object, which is the caller's.
    """
    try:
        yield
    except (Changed, FileNotFoundError, StoreError):
        raise
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        kind = StoreHeld if fetch_mends_itself(error) else StoreError
        raise kind(
            f"[store] tables = {redacted(address)} cannot be reached: {redacted(reason, address)}. Check the address, "
            "and the credentials and endpoint in the environment; what is published there stands."
        ) from None


@dataclass(frozen=True)
class Objects:
    """Objects below an address, as JSON values."""

    address: str
    """Such as ``s3://bucket/prefix``."""

    @property
    def protocol(self) -> str:
        return self.address.partition("://")[0]

    @property
    def fs(self) -> Any:
        return filesystem(self.protocol)

    def path(self, key: str) -> str:
        """The path of an object in the file system."""
        root = self.address.partition("://")[2].rstrip("/")
        return f"/{root.strip('/')}/{key}" if self.protocol != "s3" else f"{root}/{key}"

    def read(self, key: str) -> tuple[Any, str] | None:
        """The value of an object, and the tag of this state of it; None where there is none."""
        try:
            with reaching(self.address):
                data, tag = self._read_s3(key) if self.protocol == "s3" else self._read(key)
        except FileNotFoundError:
            return None
        return json.loads(data), tag

    def write(self, key: str, value: Any, tag: str | None = None) -> str:
        """Write an object that is as it was when it had this tag; None = that does not exist. Returns the new tag.

        Raises:
            Changed: it is not.
        """
        data = json.dumps(value, indent=1, sort_keys=True, default=str).encode()
        try:
            return self._write(key, data, tag)
        except FileNotFoundError:
            raise StoreError(
                f"[store] tables = {redacted(self.address)}: there is no such bucket. Make it first."
            ) from None

    def _write(self, key: str, data: bytes, tag: str | None) -> str:
        with reaching(self.address):
            if self.protocol == "s3":
                return self._write_s3(key, data, tag)
            with self._alone():
                try:
                    there = self._read(key)[1]
                except FileNotFoundError:
                    there = None
                if there != tag:
                    raise Changed(key)
                path = self.path(key)
                if self.protocol == "file":
                    write_text(Path(path), data.decode())
                else:
                    self.fs.pipe_file(path, data)
            return _digest(data)

    def _read(self, key: str) -> tuple[bytes, str]:
        data = self.fs.cat_file(self.path(key))
        return data, _digest(data)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No other writer: of this process in memory, of this machine in files."""
        if self.protocol == "memory":
            with IN_MEMORY:
                yield
        else:
            from filelock import FileLock

            root = Path(self.path(""))
            root.mkdir(parents=True, exist_ok=True)
            with FileLock(root / ".lock", fallback_to_soft=False):
                yield

    def _read_s3(self, key: str) -> tuple[bytes, str]:
        from fsspec.asyn import sync

        async def get() -> tuple[bytes, str]:
            bucket, name, _ = self.fs.split_path(self.path(key))
            answer = await self.fs._call_s3("get_object", Bucket=bucket, Key=name)
            async with answer["Body"] as body:
                return await body.read(), answer["ETag"]

        return sync(self.fs.loop, get)

    def _write_s3(self, key: str, data: bytes, tag: str | None) -> str:
        bucket, name, _ = self.fs.split_path(self.path(key))
        condition = {"IfMatch": tag} if tag else {"IfNoneMatch": "*"}
        try:
            answer = self.fs.call_s3("put_object", Bucket=bucket, Key=name, Body=data, **condition)
            return str(answer["ETag"])
        except Exception as error:
            gone = bool(tag) and isinstance(error, FileNotFoundError)
            if not gone and _status(error) not in CONFLICTS:
                raise
            try:  # a write whose answer was lost was tried again by the SDK, and met itself
                there, now = self._read_s3(key)
            except FileNotFoundError:
                there, now = b"", ""
            if there == data:
                return now
            raise Changed(key) from None


def _status(error: BaseException | None) -> int:
    """The HTTP status of an error of the SDK, or of one that came from it; 0 = none."""
    while error is not None:
        if response := getattr(error, "response", None):
            return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        error = error.__cause__
    return 0


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
