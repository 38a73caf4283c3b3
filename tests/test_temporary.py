"""Which failures may mend themselves (exit status 75), and which do not."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import pytest
import sqlalchemy as sa

from narrows.asof import Asof
from narrows.audit.contract import BrokenContract
from narrows.cli import status
from narrows.cli.airflow.workflow import ROOT
from narrows.cli.commands import COMMANDS
from narrows.cli.main import main
from narrows.run import reads
from narrows.source.errors import SourceAway, SourceError
from narrows.store.partitions import StoreError, StoreHeld
from narrows.temporary import fetch_mends_itself, mends_itself

SOURCE = """
[source]
name = "files"
events = "absent.parquet"
event_columns = {user_id = "u", item_id = "i", event_time = "t"}
"""


class Driver(Exception):
    """An error of a PostgreSQL driver."""


def database(kind: type, words: str, orig: type[Exception] = Driver) -> Exception:
    return kind("SELECT 1", {}, orig(words))


@pytest.mark.parametrize(
    ("error", "mends"),
    [
        (database(sa.exc.OperationalError, "connection refused"), True),
        (database(sa.exc.OperationalError, "the database system is starting up"), True),
        (database(sa.exc.OperationalError, 'FATAL: password authentication failed for user "x"'), False),
        (database(sa.exc.OperationalError, 'FATAL: database "x" does not exist'), False),
        (database(sa.exc.IntegrityError, "duplicate key"), False),
        (StoreHeld("held"), True),
        (StoreError("no such run"), False),
        (BrokenContract("broken"), False),
        (MemoryError(), False),
        (ConnectionRefusedError("of Spark's JVM, which was killed"), False),
    ],
)
def test_a_database_that_is_away_mends_itself_and_a_wrong_password_does_not(error, mends):
    assert mends_itself(error) == mends
    wrapped = RuntimeError("a room failed")
    wrapped.__cause__ = error
    assert mends_itself(wrapped) == mends


def test_sqlite_is_never_away_but_may_be_busy(tmp_path):
    import sqlite3

    assert mends_itself(database(sa.exc.OperationalError, "database is locked", sqlite3.OperationalError))
    assert not mends_itself(database(sa.exc.OperationalError, "no such table: x", sqlite3.OperationalError))


def test_a_tracking_server_that_is_away_mends_itself():
    import requests
    from mlflow.exceptions import MlflowException

    asked = MlflowException("API request failed")
    asked.__context__ = requests.exceptions.ConnectTimeout("127.0.0.1")
    assert mends_itself(asked)
    assert mends_itself(MlflowException("the database is away", error_code=2))
    assert not mends_itself(MlflowException("no such run", error_code=3001))


def test_a_fetch_that_failed_mends_itself_but_not_without_access():
    def answered(code: int) -> Exception:
        error = RuntimeError("answered")
        error.status = code
        return error

    assert fetch_mends_itself(FileNotFoundError("not there yet"))
    assert fetch_mends_itself(TimeoutError())
    assert fetch_mends_itself(answered(503))
    for error in (answered(403), answered(401), PermissionError(), ImportError("s3fs"), ValueError("no protocol")):
        assert not fetch_mends_itself(error)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SourceAway("[source] no file"), 75),
        (SourceError("[source] wrong column"), 2),
        (database(sa.exc.OperationalError, "connection refused\nmore"), 75),
    ],
)
def test_the_exit_status_says_whether_it_may_mend_itself(error, code, monkeypatch, tmp_path, capsys):
    def fail(*_):
        raise error

    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(COMMANDS, "list", replace(COMMANDS["list"], run=fail))
    assert main(["list"]) == code
    assert capsys.readouterr().err.count("\n") == 1
    assert status.TRY_AGAIN == 75


def test_a_file_that_is_not_there_yet_and_a_held_store_end_with_75(tmp_path, monkeypatch, capsys):
    (tmp_path / "narrows.toml").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    assert main(["transform", "events", "--asof", "2024-01-01"]) == 75
    assert "no file at" in capsys.readouterr().err
    hold = (
        "import sys, time, pathlib; from narrows.store.partitions import Store\n"
        "with Store(pathlib.Path('var/tables')).lock('a long run'): print(1, flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", hold], stdout=subprocess.PIPE, env={"PYTHONPATH": str(ROOT)})
    try:
        holder.stdout.readline()
        assert main(["transform", "events", "--asof", "2024-01-01"]) == 75
        assert "(a long run)" in capsys.readouterr().err
    finally:
        holder.kill()
        holder.communicate()


@pytest.mark.parametrize(("ends", "kind"), [("2024-01-09", SourceAway), ("2023-06-01", SourceError)])
def test_rows_that_may_be_late_are_waited_for_and_a_source_that_ended_long_ago_is_not(monkeypatch, ends, kind):
    monkeypatch.setattr(reads, "known", lambda *_: SimpleNamespace(notes={"ends": ends, "goes_on": False}))
    runner = SimpleNamespace(force=False, source_room="events", horizon=timedelta(days=7))
    with pytest.raises(SourceError, match="there is no event") as raised:
        reads.require_reached(runner, Asof.parse("2024-01-10"))
    assert raised.type is kind
