"""`narrows ui`: what it starts, what it refuses, and, slow, that a triggered run gets done."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.parse
import urllib.request

import psutil
import pytest
from served import ask, three_ports, until_over, wait_for_pages

from narrows.cli.airflow import workflow
from narrows.cli.airflow.runs import ALONE, SCHEDULER, lock
from narrows.cli.airflow.workflow import ROOT, WorkflowError
from narrows.cli.pages import servers as pages
from narrows.cli.pages.links import Pages
from narrows.cli.pages.servers import ui
from narrows.engine.telemetry import OFF
from tests import world

SCHEDULING = {"airflow scheduler", "airflow dag-processor"}
PAGES = {"airflow api-server", "mlflow server", "narrows.cli.pages.served"}


class Process:
    """A process that goes on until it is ended."""

    pid = 2**30

    def poll(self):
        return None

    def wait(self, seconds):
        pass


@pytest.fixture
def started(monkeypatch):
    """What `ui` starts until Ctrl-C: command, environment and inherited files, by the first words of the command."""
    calls = {}

    def start(command, env, *, pass_fds, **_):
        words = command[:1] if "." in command[0] else command[:2]
        calls[" ".join(words)] = (command, env, [os.fstat(file) for file in pass_fds])
        return Process()

    def ctrl_c(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(pages, "start", start)
    for name in ("migrate", "close_cut_off", "fail_in_mlflow", "_wait"):
        monkeypatch.setattr(pages, name, lambda *_: None)
    monkeypatch.setattr(pages.saved_view, "address", lambda address, _: address)
    monkeypatch.setattr(pages.time, "sleep", ctrl_c)
    monkeypatch.setattr(os, "killpg", lambda *_: None)
    return calls


def test_pages_and_scheduler_are_started_on_loopback_and_told_to_report_nothing(started, tmp_path, capsys):
    port = three_ports()
    assert ui(tmp_path, f"sqlite:///{tmp_path}/mlflow.db", port) == 0
    assert started.keys() == PAGES | SCHEDULING
    for command, env, _ in started.values():
        assert env.items() >= OFF.items(), command
        assert env["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
        assert env["AIRFLOW__API__BASE_URL"] == f"http://127.0.0.1:{port}/"
        assert Pages.of(env) == Pages(
            str(tmp_path),
            f"sqlite:///{tmp_path}/mlflow.db",
            f"http://127.0.0.1:{port + 1}/",
            f"http://127.0.0.1:{port + 2}/",
        )
    for name in ("airflow api-server", "mlflow server"):
        command = started[name][0]
        assert command[command.index("--host") + 1] == "127.0.0.1"
    assert "--skip-serve-logs" in started["airflow scheduler"][0], "their server listens on every address"
    assert all(files for name, (_, _, files) in started.items() if name in SCHEDULING), "they inherit the lock"
    said = capsys.readouterr().out
    assert [line.split()[-1] for line in said.splitlines()[:3]] == [f"http://127.0.0.1:{port + n}/" for n in range(3)]


def test_no_scheduler_is_started_while_the_dag_is_run_from_the_command_line(started, tmp_path, capsys):
    file = lock(tmp_path / "airflow", ALONE)
    try:
        assert ui(tmp_path, "http://tracking.example", three_ports()) == 0
    finally:
        os.close(file)
    assert started.keys() == PAGES - {"mlflow server"}
    assert "what is triggered in Airflow starts after it" in capsys.readouterr().out


def test_the_scheduler_is_started_when_that_run_has_ended(started, tmp_path, monkeypatch):
    file = lock(tmp_path / "airflow", ALONE)

    def ctrl_c(_):
        raise KeyboardInterrupt

    looks = iter([lambda _: os.close(file), ctrl_c])
    monkeypatch.setattr(pages.time, "sleep", lambda seconds: next(looks)(seconds))
    assert ui(tmp_path, "http://tracking.example", three_ports()) == 0
    assert started.keys() >= SCHEDULING


def test_a_second_one_has_no_scheduler(started, tmp_path):
    file = lock(tmp_path / "airflow", SCHEDULER)
    try:
        assert ui(tmp_path, "http://tracking.example", three_ports()) == 0
    finally:
        os.close(file)
    assert not started.keys() & SCHEDULING


def test_without_a_clone_airflow_is_left_out(started, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pages, "SETTINGS", tmp_path / "nothing.env")
    assert ui(tmp_path, f"sqlite:///{tmp_path}/mlflow.db", three_ports()) == 0
    assert started.keys() == {"mlflow server", "narrows.cli.pages.served"}
    assert all(env.items() >= OFF.items() for _, env, _ in started.values())
    assert "Airflow is left out" in capsys.readouterr().err


def test_a_port_in_use_is_named_with_the_remedy(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(WorkflowError, match=rf"Port {port}.*--port"):
            ui(tmp_path, "http://tracking.example", port=port - 2)


def test_what_a_process_started_in_a_session_of_its_own_ends_with_it():
    code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], start_new_session=True)\n"
        "print(child.pid, flush=True); time.sleep(60)"
    )
    with workflow.ended(signal.SIGTERM) as processes:
        command = [sys.executable, "-c", code]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True))
        child = psutil.Process(int(processes[0].stdout.readline()))
        assert child.is_running()
    child.wait(5)


@pytest.mark.slow
def test_a_run_that_is_triggered_before_any_other_gets_done(tmp_path):
    """The small world, a real Airflow, its REST API; then `narrows dag` beside it, and Ctrl-C."""
    file = world.write(tmp_path / "world")
    port = three_ports()
    env = {**os.environ, "NARROWS_STORE__ROOT": str(tmp_path / "state"), "PYTHONPATH": str(ROOT)}
    narrows = [sys.executable, "-m", "narrows", "--file", str(file)]
    served = subprocess.Popen([*narrows, "ui", "--port", str(port)], stdout=subprocess.PIPE, text=True, env=env)
    try:
        wait_for_pages(served)
        ask(port, "dags/daily", patience=60)
        run = ask(port, "dags/daily/dagRuns", {"logical_date": None, "conf": {"asof": str(world.ASOF)}})["dag_run_id"]
        done = until_over(port, run)
        assert (done["state"], done["partition_key"]) == ("success", str(world.ASOF))

        links = ask(port, f"dags/daily/dagRuns/{urllib.parse.quote(run)}/taskInstances/recall/links")["extra_links"]
        assert f":{port + 1}/#/experiments/" in links["MLflow run"]
        with urllib.request.urlopen(links["Data docs"]) as page:
            assert b"https://" not in page.read().replace(b'href="https://', b"")

        subprocess.run([*narrows, "dag", "--asof", str(world.ASOF)], check=True, env=env, timeout=300)
        runs = ask(port, "dags/daily/dagRuns?order_by=-id")["dag_runs"]
        assert [run["state"] for run in runs] == ["success"] * 2
        assert runs[0]["dag_run_id"].startswith(f"{world.ASOF}__")

        late = ask(port, "dags/daily/dagRuns", {"logical_date": None, "conf": {}})["dag_run_id"]
        assert until_over(port, late)["state"] == "failed"
        where = f"dags/daily/dagRuns/{urllib.parse.quote(late)}/taskInstances/events"
        assert ask(port, where)["try_number"] == 1
        assert "there is no event" in json.dumps(ask(port, f"{where}/logs/1"))

        days = {"from_date": f"{world.ASOF}T00:00:00Z", "to_date": f"{world.ASOF}T00:00:00Z"}
        again = {"reprocess_behavior": "completed", "max_active_runs": 1, "run_backwards": False}
        ask(port, "backfills", {"dag_id": "daily", "dag_run_conf": {}, **days, **again})
        backfill = ask(port, "dags/daily/dagRuns?order_by=-id&limit=1")["dag_runs"][0]
        assert (backfill["run_type"], backfill["partition_key"]) == ("backfill", str(world.ASOF))
        assert until_over(port, backfill["dag_run_id"])["state"] == "success"
    finally:
        below = psutil.Process(served.pid).children(recursive=True)
        served.send_signal(signal.SIGINT)
        assert served.wait(30) == 0
    assert psutil.wait_procs(below, timeout=10)[1] == []
