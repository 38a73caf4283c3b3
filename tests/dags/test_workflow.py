"""What a task does, and how a run is driven from the command line."""

import os
import re
import sqlite3
import subprocess
import sys

import pytest
from airflow.sdk.exceptions import AirflowFailException

from narrows.cli.airflow import workflow
from narrows.cli.airflow.tasks import DEFAULTS, TASK_LOGS, run_room
from narrows.cli.airflow.workflow import environment, run_dag
from narrows.store.partitions import Store, StoreError

ROOM = """
import sys
print("step 1", file=sys.stderr)
print("noise on standard output")
if "fail" in sys.argv: sys.exit(1)
if "later" in sys.argv: sys.exit(75)
if "stopped" in sys.argv: import os; os.kill(os.getpid(), 15)
if "warns" in sys.argv: print("!! ndcg@20 is worse", file=sys.stderr)
if "shows" in sys.argv: print(*sys.argv[1:], file=sys.stderr)
if "wrong" in sys.argv: sys.exit(2)
if "killed" in sys.argv: import os; os.kill(os.getpid(), 9)
print("0123456789abcdef")
"""

DAG = """
from datetime import UTC, datetime, timedelta
from pathlib import Path
from airflow.sdk import DAG, task
from narrows.cli.airflow.tasks import _progress
from narrows.store.partitions import Store

@task(retries=1, retry_delay=timedelta(seconds=1))
def first(asof):
    with _progress() as say:
        say(f"first as of {asof}")
    with Store(Path("TABLES")).lock("a task, which passes through"):
        pass
    tried = Path("TRIED")
    tries = len(tried.read_text()) if tried.exists() else 0
    tried.write_text("x" * (tries + 1))
    if tries < 3:
        raise RuntimeError(f"try {tries}")
    return "version"

@task
def second(made):
    Path("SECOND").write_text(made)

def failed(context):
    Path("FAILED").write_text(context["run_id"])

with DAG(
    "daily", schedule=None, start_date=datetime(2017, 1, 1, tzinfo=UTC), params={"asof": ""}, on_failure_callback=[failed]
):
    second(first("{{ params.asof }}"))
"""


@pytest.fixture
def room(tmp_path, monkeypatch):
    """A stand-in for the command line, so that only the task's own work is tested."""
    (tmp_path / "narrows").mkdir()
    (tmp_path / "narrows" / "__main__.py").write_text(ROOM)
    (tmp_path / "narrows" / "__init__.py").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(TASK_LOGS, raising=False)
    monkeypatch.setenv(DEFAULTS, "1")


def test_a_task_shows_its_rooms_progress_and_hands_on_the_version(room, capsys):
    assert run_room("recall", "2017-11-30", "run") == "0123456789abcdef"
    assert capsys.readouterr().out == "step 1\n"


@pytest.mark.parametrize(("how", "code"), [("later", 75), ("stopped", -15)])
def test_a_task_is_retried_where_its_room_may_mend_itself_or_was_stopped(room, capsys, how, code):
    with pytest.raises(RuntimeError, match=f"recall as of 2017-11-30 failed with exit status {code}") as raised:
        run_room("recall", "2017-11-30", how)
    assert raised.type is RuntimeError, "AirflowFailException would end the retries"
    assert "step 1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("fail", "exit status 1"),
        ("wrong", "exit status 2"),
        ("killed", r"was killed, .*memory ran out.*\[engine\] memory"),
    ],
)
def test_a_task_is_not_retried_where_no_retry_helps(room, how, says):
    with pytest.raises(AirflowFailException, match=f"recall as of 2017-11-30 .*{says}"):
        run_room("recall", "2017-11-30", how)


def test_a_room_is_told_the_versions_that_earlier_tasks_handed_on(room, capsys):
    run_room("rank", "2017-11-30", "shows", reads={"events": "0123", "evaluation": "pending", "prerank": "89ab"})
    [said] = [line for line in capsys.readouterr().out.splitlines() if "transform" in line]
    assert said.endswith("--reads=events=0123 --reads=prerank=89ab")


def test_a_worker_without_settings_fails(room, monkeypatch, tmp_path):
    """It would run the public data set with the default settings."""
    monkeypatch.delenv(DEFAULTS)
    monkeypatch.delenv("NARROWS_FILE", raising=False)
    with pytest.raises(AirflowFailException, match=r"no narrows.toml in .*NARROWS_FILE"):
        run_room("recall", "2017-11-30", "run")
    (tmp_path / "narrows.toml").touch()
    assert run_room("recall", "2017-11-30", "run")


def test_a_run_retries_reports_failure_and_can_be_repeated(tmp_path, capfd):
    """Two runs of a small DAG in a real Airflow: one fails for all its retries, one succeeds by a retry."""
    dags, state = tmp_path / "dags", tmp_path / "state"
    dags.mkdir()
    text = (
        DAG.replace("TRIED", f"{tmp_path}/tried")
        .replace("SECOND", f"{tmp_path}/second")
        .replace("TABLES", f"{state}/tables")
        .replace("FAILED", f"{tmp_path}/failed")
    )
    (dags / "daily.py").write_text(text)

    assert run_dag("2017-11-30", state, dags) == 1
    assert "airflow.log" in capfd.readouterr().err
    assert not (tmp_path / "second").exists()
    assert (tmp_path / "failed").read_text().startswith("2017-11-30__"), "without a scheduler too"
    assert run_dag("2017-11-30", state, dags) == 0
    assert capfd.readouterr().err.count("first as of 2017-11-30") == 2
    assert (tmp_path / "second").read_text() == "version"

    with sqlite3.connect(state / "airflow" / "airflow.db") as database:
        runs = database.execute("SELECT run_id, state FROM dag_run ORDER BY start_date").fetchall()
        assert [state for _, state in runs] == ["failed", "success"]
        assert all(re.fullmatch(r"2017-11-30__\d{8}T\d{6}\.\d{6}", run_id) for run_id, _ in runs)
    logs = state / "airflow" / "logs" / "dag_id=daily" / f"run_id={runs[1][0]}" / "task_id=first"
    assert {log.name: log.read_text() for log in logs.iterdir()} == {
        f"attempt={n}.log": "first as of 2017-11-30\n" for n in (1, 2)
    }


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


def test_what_airflow_keeps_is_below_the_state_folder_wherever_that_was_before(tmp_path):
    home = tmp_path / "airflow"
    home.mkdir()
    (home / "airflow.cfg").write_text(
        "[logging]\nbase_log_folder = /elsewhere/logs\n[core]\nplugins_folder = /elsewhere\n"
    )
    code = (
        "from airflow.configuration import conf\n"
        "for key in ('base_log_folder', 'dag_processor_child_process_log_directory'): print(conf.get('logging', key))\n"
        "print(conf.get('core', 'plugins_folder'))"
    )
    env = {**os.environ, **environment(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    logs = home / "logs"
    assert done.stdout.split() == [str(logs), str(logs / "dag_processor"), str(workflow.PLUGINS)]
