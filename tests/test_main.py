"""The command line says in one line what a person can mend; everything else keeps its traceback."""

from __future__ import annotations

import errno
import sqlite3
import sys
from dataclasses import replace

import pytest
import sqlalchemy as sa

from narrows.asof import Asof
from narrows.cli.commands import COMMANDS
from narrows.cli.main import main
from narrows.engine.spark import spark_session
from narrows.store.partitions import Store
from tests import world


@pytest.fixture
def narrows(tmp_path, monkeypatch, capsys):
    """Runs a command in an empty folder: its exit status, what it printed, and the lines of its errors."""
    monkeypatch.chdir(tmp_path)

    def run(*argv: str) -> tuple[int, str, list[str]]:
        status = main(list(argv))
        said = capsys.readouterr()
        return status, said.out, said.err.splitlines()

    return run


def wrapped() -> Exception:
    try:
        raise sa.exc.OperationalError("INSERT", {}, sqlite3.OperationalError("database or disk is full"))
    except sa.exc.OperationalError as error:
        later = RuntimeError("the run could not be logged")
        later.__context__ = error
        return later


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        sqlite3.OperationalError("database or disk is full"),
        RuntimeError("Job aborted: java.io.IOException: No space left on device"),
        wrapped(),
    ],
)
def test_a_full_disk_is_one_line(error, narrows, tmp_path, monkeypatch):
    def fails(*_: object) -> int:
        raise error

    monkeypatch.setitem(COMMANDS, "list", replace(COMMANDS["list"], run=fails))
    status, _, (line,) = narrows("list")
    assert status == 1
    assert str(tmp_path / "var") in line
    assert "run again" in line


def test_other_errors_keep_their_traceback(narrows, monkeypatch):
    def fails(*_: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setitem(COMMANDS, "list", replace(COMMANDS["list"], run=fails))
    with pytest.raises(OSError, match="Input/output"):
        narrows("list")


def test_a_report_of_a_day_without_a_run_names_the_days_that_have_one(narrows, tmp_path):
    status, printed, (line,) = narrows("report", "--asof", "2020-01-01")
    assert (status, printed) == (2, "")
    assert line == "narrows: no run as of 2020-01-01. Run: narrows run --asof 2020-01-01"
    for day in (Asof.parse("2024-01-01"), Asof.parse("2024-01-08")):
        Store(tmp_path / "var" / "tables").point("recommendations", day, "a" * 16)
    status, printed, (line,) = narrows("report", "--asof", "2020-01-01")
    assert (status, printed) == (2, "")
    assert line == "narrows: no run as of 2020-01-01. The newest are as of 2024-01-01, 2024-01-08"


def test_show_before_the_first_run_is_one_line_and_makes_nothing(narrows, tmp_path):
    status, printed, (line,) = narrows("show", "1")
    assert (status, printed) == (2, "")
    assert line == "narrows: the serving database holds no release yet. Run: narrows run"
    assert not list(tmp_path.iterdir())
    (tmp_path / "var").mkdir()
    for content, says in ((b"", "holds no release"), (b"no database at all" * 99, "file is not a database")):
        (tmp_path / "var" / "recommendations.db").write_bytes(content)
        status, _, (line,) = narrows("show", "1")
        assert (status, says in line) == (2, True)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("nonsense", "give a SQLAlchemy URL, such as postgresql://"),
        ("nonsense://secret@host/database", "is not a URL that SQLAlchemy knows. Give postgresql://"),
        ("postgresql://me:secret@host:port/database", "is not a URL that SQLAlchemy knows. Give postgresql://"),
        ("mysql+nodriver://me:secret@host/database", "is not a URL that SQLAlchemy knows"),
        ("postgresql://me:secret@host/database", "pip install -e '.[postgres]' -c constraints.txt"),
    ],
)
@pytest.mark.parametrize("command", ["show", "takedown"])
def test_a_wrong_serving_url_is_one_line_without_the_password(command, url, says, narrows, monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)  # as if it were not installed
    monkeypatch.setenv("NARROWS_SERVING__URL", url)
    status, _, (line,) = narrows(command, "1")
    assert status == 2
    assert says in line
    assert "secret" not in line


@pytest.mark.parametrize("words", [["run"], ["dag"], ["transform", "events"]])
def test_a_missing_java_is_one_line(words, narrows, tmp_path, monkeypatch):
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    spark_session.cache_clear()  # a session that another test made needs no Java to be found
    world.write(tmp_path)
    status, _, errors = narrows(*words, "--asof", str(world.ASOF))
    assert status == 2
    assert "Java is missing. Install" in errors[-1]
    assert "Traceback" not in "".join(errors)
