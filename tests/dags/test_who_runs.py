"""Who runs the tasks of open runs: `narrows dag` or the scheduler of `narrows ui`, never both."""

import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing

import pytest

from narrows.cli.airflow import workflow
from narrows.cli.airflow.runs import ALONE, SCHEDULER, close_cut_off, follow, lock, locked
from narrows.cli.airflow.workflow import run_dag


@pytest.fixture
def database(tmp_path):
    """Airflow's tables, as far as they are read here: a run over, one of `narrows dag` cut off, two of a scheduler."""
    with closing(sqlite3.connect(tmp_path / "airflow.db")) as made:
        made.execute("CREATE TABLE dag_run (run_id, state, triggered_by, end_date)")
        made.execute("CREATE TABLE task_instance (run_id, task_id, state, end_date)")
        runs = [
            ("old", "success", "TEST"),
            ("cut", "running", "TEST"),
            ("ui", "running", "UI"),
            ("cli", "queued", "CLI"),
        ]
        made.executemany("INSERT INTO dag_run VALUES (?, ?, ?, NULL)", runs)
        tasks = [
            ("old", "a", "success"),
            ("cut", "a", "success"),
            ("cut", "b", "running"),
            ("cut", "c", None),
            ("ui", "a", "running"),
        ]
        made.executemany("INSERT INTO task_instance VALUES (?, ?, ?, NULL)", tasks)
        made.commit()
        yield made


def test_what_a_killed_run_left_open_is_closed_and_what_a_scheduler_has_left_alone(tmp_path, database):
    assert close_cut_off(tmp_path) == ["cut"]
    assert close_cut_off(tmp_path) == []
    states = dict(database.execute("SELECT run_id, state FROM dag_run").fetchall())
    assert states == {"old": "success", "cut": "failed", "ui": "running", "cli": "queued"}
    found = database.execute("SELECT run_id, task_id FROM task_instance WHERE state = 'failed'").fetchall()
    assert found == [("cut", "b"), ("cut", "c")]


def test_the_lock_has_one_holder_and_is_free_when_all_that_inherited_it_have_ended(tmp_path):
    file = lock(tmp_path, SCHEDULER)
    assert lock(tmp_path, ALONE) is None
    with locked(tmp_path) as who:
        assert who == SCHEDULER
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], pass_fds=(file,))
    os.close(file)
    try:
        assert lock(tmp_path, ALONE) is None, "the child holds it"
    finally:
        child.kill()
        child.wait()
    with locked(tmp_path) as who:
        assert who == ALONE
        assert lock(tmp_path, SCHEDULER) is None


def entry(text, logger="task.stdout"):
    return json.dumps({"event": text, "logger": logger}) + "\n"


def test_a_run_of_the_scheduler_is_followed_to_its_end(tmp_path, database, capsys):
    folder = tmp_path / "logs" / "dag_id=daily" / "run_id=ui" / "task_id=recall"
    folder.mkdir(parents=True)
    log = folder / "attempt=1.log"
    log.write_text(entry("noise", "task") + entry("begins") + entry("is half written")[:-1])

    def go_on():
        time.sleep(0.7)
        log.write_text(log.read_text() + "\n" + entry("ends"))
        with closing(sqlite3.connect(tmp_path / "airflow.db")) as other, other:
            other.execute("UPDATE dag_run SET state = 'success' WHERE run_id = 'ui'")

    threading.Thread(target=go_on).start()
    assert follow(tmp_path, "ui")
    assert capsys.readouterr().err.splitlines() == ["begins", "is half written", "ends"]
    assert not follow(tmp_path, "cut off and deleted")


def test_ctrl_c_says_that_the_run_goes_on(tmp_path, database, capsys, monkeypatch):
    def stop(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("narrows.cli.airflow.runs.time.sleep", stop)
    with pytest.raises(KeyboardInterrupt):
        follow(tmp_path, "ui")
    assert "The run ui goes on in Airflow" in capsys.readouterr().err


def test_a_run_is_given_to_the_scheduler_that_is_up(tmp_path, monkeypatch, capsys):
    """And the store is not locked: the scheduler's tasks need it."""
    calls = []
    monkeypatch.setattr(workflow, "_dag_alone", lambda arguments, env: calls.append(arguments) or 0)
    monkeypatch.setattr("narrows.cli.airflow.runs.follow", lambda home, run_id: True)
    file = lock(tmp_path / "airflow", SCHEDULER)
    try:
        assert run_dag("2017-11-30", tmp_path, force=True) == 0
    finally:
        os.close(file)
    [[how, _, dag, run_id, conf]] = calls
    assert (how, dag, json.loads(conf)) == ("queue", "daily", {"asof": "2017-11-30", "force": True})
    assert run_id.startswith("2017-11-30__")
    assert run_id in capsys.readouterr().err
    assert not (tmp_path / "tables").exists()
