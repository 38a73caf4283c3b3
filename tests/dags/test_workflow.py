"""What a task does, and how a run is driven from the command line."""

import socket
import sqlite3
import subprocess
import sys

import pytest

from narrows.cli import airflow as workflow
from narrows.cli.airflow import WorkflowError, environment, run_dag, run_room
from narrows.cli.pages import ui
from narrows.store.partitions import Store, StoreError

ROOM = """
import sys
print("step 1", file=sys.stderr)
print("noise on standard output")
if "fail" in sys.argv: sys.exit(1)
if "wrong" in sys.argv: sys.exit(2)
print("0123456789abcdef")
"""

DAG = """
from datetime import UTC, datetime, timedelta
from pathlib import Path
from airflow.sdk import DAG, task
from narrows.cli.airflow import _progress

@task(retries=1, retry_delay=timedelta(seconds=1))
def first(asof):
    with _progress() as say:
        say(f"first as of {asof}")
    tried = Path("TRIED")
    tries = len(tried.read_text()) if tried.exists() else 0
    tried.write_text("x" * (tries + 1))
    if tries < 3:
        raise RuntimeError(f"try {tries}")
    return "version"

@task
def second(made):
    Path("SECOND").write_text(made)

with DAG("daily", schedule=None, start_date=datetime(2017, 1, 1, tzinfo=UTC), params={"asof": ""}):
    second(first("{{ params.asof }}"))
"""


@pytest.fixture
def room(tmp_path, monkeypatch):
    """A stand-in for the command line, so that only the task's own work is tested."""
    (tmp_path / "narrows").mkdir()
    (tmp_path / "narrows" / "__main__.py").write_text(ROOM)
    (tmp_path / "narrows" / "__init__.py").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(workflow.TASK_LOGS, raising=False)


def test_a_task_shows_its_rooms_progress_and_hands_on_the_version(room, capsys):
    assert run_room("recall", "2017-11-30", "run") == "0123456789abcdef"
    assert capsys.readouterr().out == "step 1\n"


def test_a_task_fails_when_its_room_does(room, capsys):
    with pytest.raises(RuntimeError, match="recall as of 2017-11-30 failed with exit status 1"):
        run_room("recall", "2017-11-30", "fail")
    assert "step 1" in capsys.readouterr().out


def test_a_task_is_not_retried_when_the_settings_are_wrong(room):
    from airflow.sdk.exceptions import AirflowFailException

    with pytest.raises(AirflowFailException, match="exit status 2"):
        run_room("recall", "2017-11-30", "wrong")


def test_a_run_retries_reports_failure_and_can_be_repeated(tmp_path, capfd):
    """Two runs of a small DAG in a real Airflow: one fails for all its retries, one succeeds by a retry."""
    dags, state = tmp_path / "dags", tmp_path / "state"
    dags.mkdir()
    text = DAG.replace("TRIED", f"{tmp_path}/tried").replace("SECOND", f"{tmp_path}/second")
    (dags / "daily.py").write_text(text)

    assert run_dag("2017-11-30", state, dags) == 1
    assert "airflow.log" in capfd.readouterr().err
    assert not (tmp_path / "second").exists()
    assert run_dag("2017-11-30", state, dags) == 0
    assert capfd.readouterr().err.count("first as of 2017-11-30") == 2
    assert (tmp_path / "second").read_text() == "version"

    with sqlite3.connect(state / "airflow" / "airflow.db") as database:
        runs = database.execute("SELECT run_id, state FROM dag_run ORDER BY start_date").fetchall()
        assert [state for _, state in runs] == ["failed", "success"]
    logs = state / "airflow" / "logs" / "dag_id=daily" / f"run_id={runs[1][0]}" / "task_id=first"
    assert {log.name: log.read_text() for log in logs.iterdir()} == {
        f"attempt={n}.log": "first as of 2017-11-30\n" for n in (1, 2)
    }


def test_what_a_killed_run_left_open_is_closed_and_the_rest_left_alone(tmp_path):
    with sqlite3.connect(tmp_path / "airflow.db") as database:
        database.execute("CREATE TABLE dag_run (run_id, state, end_date)")
        database.execute("CREATE TABLE task_instance (run_id, task_id, state, end_date)")
        database.execute("INSERT INTO dag_run VALUES ('old', 'success', 1), ('cut', 'running', NULL)")
        database.execute("INSERT INTO task_instance VALUES ('old', 'a', 'success', 1), ('cut', 'a', 'success', 1)")
        database.execute("INSERT INTO task_instance VALUES ('cut', 'b', 'running', NULL), ('cut', 'c', NULL, NULL)")
    workflow._close_runs(tmp_path)
    assert database.execute("SELECT state FROM dag_run").fetchall() == [("success",), ("failed",)]
    found = database.execute("SELECT run_id, task_id FROM task_instance WHERE state = 'failed'").fetchall()
    assert found == [("cut", "b"), ("cut", "c")]
    database.close()


def test_a_run_is_refused_while_another_holds_the_store(tmp_path):
    hold = (
        "import sys, time, pathlib; from narrows.store.partitions import Store\n"
        "with Store(pathlib.Path(sys.argv[1])).lock('a long run'): print(1, flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", hold, str(tmp_path / "tables")]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=workflow.ROOT)
    try:
        holder.stdout.readline()
        with pytest.raises(StoreError, match=f"{holder.pid}.*a long run"):
            run_dag("2017-11-30", tmp_path)
    finally:
        holder.kill()
        holder.communicate()
    with Store(tmp_path / "tables").lock("the next"):
        pass


def test_airflow_of_another_project_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("AIRFLOW_HOME", "/somewhere/else")
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "postgresql://production")
    env = environment(tmp_path)
    assert env["AIRFLOW_HOME"] == str(tmp_path / "airflow")
    assert env["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] == f"sqlite:///{tmp_path}/airflow/airflow.db"
    assert env["AIRFLOW__API__HOST"] == "127.0.0.1"


def test_pages_need_a_run_first(tmp_path):
    with pytest.raises(WorkflowError, match="narrows run"):
        ui(tmp_path, "sqlite:////nowhere.db")


def test_a_port_in_use_is_named_with_the_remedy(tmp_path):
    for folder in ("airflow", "tables"):
        (tmp_path / folder).mkdir()
    (tmp_path / "airflow" / "airflow.db").touch()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(WorkflowError, match=rf"Port {port}.*--port"):
            ui(tmp_path, "http://tracking.example", port=port - 2)
