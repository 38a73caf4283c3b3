"""An empty serving database: SQLite, and a Postgres server of the test's own where there is one."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from narrows.serving import schema


@pytest.fixture
def engine(tmp_path):
    engine = schema.open_engine(f"sqlite:///{tmp_path}/state/serving.db")
    schema.create(engine)
    yield engine
    engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, tmp_path):
    """An empty database of each kind."""
    if request.param == "sqlite":
        yield request.getfixturevalue("engine")
        return
    engine = schema.open_engine(request.getfixturevalue("postgres"))
    with engine.begin() as connection:
        connection.execute(sa.text("DROP SCHEMA public CASCADE"))
        connection.execute(sa.text("CREATE SCHEMA public"))
    schema.create(engine)
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a Postgres server that this test run starts, on loopback, in a folder of its own."""
    pytest.importorskip("psycopg", reason="no Postgres driver: pip install -e '.[postgres]' -c constraints.txt")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    initdb = shutil.which("initdb") or (str(found[-1]) if found else "")
    if not initdb:
        pytest.skip("no Postgres server is installed (initdb is not found)")
    user: dict[str, Any] = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
    with tempfile.TemporaryDirectory(prefix="narrows-pg-") as folder:
        if user:  # the server refuses to run as root; its package made this user
            shutil.chown(folder, **user)

        def run(command: str, *arguments: str) -> None:
            whole = [str(Path(initdb).parent / command), "-D", f"{folder}/data", *arguments]
            subprocess.run(whole, check=True, cwd=folder, stdout=subprocess.DEVNULL, **user)

        run("initdb", "-A", "trust", "-U", "tester", "-E", "UTF8", "--no-sync")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        options = f"-k {folder} -c listen_addresses=127.0.0.1 -p {port} -c fsync=off"
        run("pg_ctl", "-w", "-l", f"{folder}/log", "-o", options, "start")
        try:
            yield f"postgresql+psycopg://tester@127.0.0.1:{port}/postgres"
        finally:
            run("pg_ctl", "-m", "immediate", "stop")
