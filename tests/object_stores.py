"""Places for tables that tests share: a real S3 interface (moto's server), and fsspec's files and memory."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pytest

from narrows.asof import Asof
from narrows.store.conditional import Objects, filesystem
from narrows.store.objects import ObjectStore
from narrows.store.partitions import HOLDER, Store, open_tables
from narrows.store.write import write_table

DAY = Asof.parse("2024-01-01")
WEEK = timedelta(days=7)
OLD, NEW = "a" * 64, "b" * 64
S3 = "needs s3fs and moto's server: pip install -e '.[dev]' -c constraints.txt"
BUCKET = "tables"


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """The address of a bucket of a server in this process, which answers one request after the other, as atomic as S3."""
    pytest.importorskip("s3fs", reason=S3)
    app = pytest.importorskip("moto.server", reason=S3)
    from werkzeug.serving import make_server

    server = make_server("127.0.0.1", 0, app.DomainDispatcherApplication(app.create_backend_app))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    environment = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
        "AWS_ACCESS_KEY_ID": "testing-key",
        "AWS_SECRET_ACCESS_KEY": "testing-secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "NO_PROXY": "127.0.0.1",
    }
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    filesystem.cache_clear()
    filesystem("s3").mkdir(BUCKET)
    yield f"s3://{BUCKET}"
    server.shutdown()
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})
    filesystem.cache_clear()


@pytest.fixture(params=["s3", "file", "memory"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A place for tables that nobody else uses."""
    prefix = uuid4().hex
    if request.param == "s3":
        return f"{request.getfixturevalue('s3')}/{prefix}"
    return f"file://{tmp_path}/bucket/{prefix}" if request.param == "file" else f"memory://{prefix}"


@pytest.fixture
def not_a_child(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test process holds no store."""
    monkeypatch.delenv(HOLDER, raising=False)


def open_at(address: str, here: Path, seconds: float = 30) -> ObjectStore:
    """The tables at an address, as a machine with its own state folder has them."""
    store = open_tables(address, here)
    assert isinstance(store, ObjectStore)
    return ObjectStore(store.root, store.grain, address, lease_seconds=seconds)


def publish(store: Store, fingerprint: str, rows: list[int], day: Asof = DAY, earlier=None, **meta: object):
    draft = store.draft("events", day, fingerprint)
    write_table(pa.table({"n": rows}), draft / "data" / f"known={day}")
    write_table(pa.table({"id": [1]}), draft / "items")
    for file, place in earlier.files() if earlier else ():
        (draft / "data" / place).parent.mkdir()
        os.link(file, draft / "data" / place)
    return store.publish("events", day, draft, {"fingerprint": fingerprint, "rows": len(rows), **meta})


def rows(store: Store, day: Asof = DAY) -> list[int]:
    return store.current("events", day).arrow(["n"])["n"].to_pylist()


def keys(address: str) -> list[str]:
    """Every object at an address."""
    objects = Objects(address)
    root = objects.path("").rstrip("/")
    return sorted(path[len(root) + 1 :] for path in objects.fs.find(root) if not path.endswith(".lock"))
