"""Runs under real services (`narrows up`): by the clock, and through kills, a restart and a second scheduler. Slow."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from narrows.cli.airflow.workflow import ROOT, WorkflowError
from narrows.cli.services import postgres
from tests import world

pytest.importorskip("psycopg")
pytest.importorskip("supervisor")
pytestmark = pytest.mark.slow

AIRFLOW = """
AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT=120
AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL=5
AIRFLOW__CORE__MAX_TASK_RETRY_DELAY=15
"""
PORT = 28080
MINUTES = 40


@dataclass
class Services:
    """The services of a small world whose last days are these, so that the clock's as-of is the one to make."""

    folder: Path

    @property
    def state(self) -> Path:
        return self.folder / "var"

    def narrows(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "PYTHONPATH": str(ROOT), **self.clients()}
        call = [sys.executable, "-m", "narrows", *command]
        return subprocess.run(call, env=env, cwd=self.folder, capture_output=True, text=True, check=check)

    def clients(self) -> dict[str, str]:
        file = self.state / "services" / "env"
        lines = file.read_text().splitlines() if file.exists() else []
        return dict(line.removeprefix("export ").split("=", 1) for line in lines)

    def ask(self, path: str, body: object = None) -> dict:
        if not hasattr(self, "token"):
            password = json.loads((self.state / "secrets" / "airflow.json").read_text())["admin"]
            self.token = ""
            self.token = self.ask("/auth/token", {"username": "admin", "password": password})["access_token"]
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{PORT}{path}", data, headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def trigger(self, asof: str) -> str:
        return str(self.ask("/api/v2/dags/daily/dagRuns", {"logical_date": None, "conf": {"asof": asof}})["dag_run_id"])

    def tasks(self, run: str) -> dict[str, dict]:
        found = self.ask(f"/api/v2/dags/daily/dagRuns/{urllib.parse.quote(run)}/taskInstances")["task_instances"]
        return {task["task_id"]: task for task in found}

    def over(self, run: str) -> str:
        """The state of a run when it has ended; while the API server or its database is away it is asked again."""
        end = time.monotonic() + 60 * MINUTES
        while time.monotonic() < end:
            with suppress(urllib.error.URLError, OSError):
                state = self.ask(f"/api/v2/dags/daily/dagRuns/{urllib.parse.quote(run)}")["state"]
                if state in ("success", "failed"):
                    return str(state)
            time.sleep(2)
        return "not over"

    def processes(self, *words: str) -> list[psutil.Process]:
        """The processes of these services whose command has all these words."""
        found = []
        for each in psutil.process_iter():
            with suppress(psutil.Error):
                command = " ".join(each.cmdline())
                if all(word in command for word in words) and each.environ().get("AIRFLOW_HOME") == str(
                    self.state / "airflow"
                ):
                    found.append(each)
        return found

    def working_on(self, room: str) -> psutil.Process:
        """The process of a room, once it works."""
        end = time.monotonic() + 60 * MINUTES
        while time.monotonic() < end:
            if found := self.processes(f"narrows transform {room} "):
                time.sleep(3)
                return found[0]
            time.sleep(0.5)
        raise AssertionError(f"{room} was never started")


@pytest.fixture(scope="module")
def services(tmp_path_factory):
    try:
        postgres.programs()
    except WorkflowError:
        pytest.skip("no PostgreSQL on this machine")
    folder = tmp_path_factory.mktemp("services")
    for each in (folder, *list(folder.parents)[:2]):
        each.chmod(0o755)  # PostgreSQL runs as another user
    table = world.events()
    shift = pa.scalar(yesterday() - world.ASOF.day)
    table = table.set_column(table.schema.get_field_index("at"), "at", pc.add(table["at"], shift))
    world.write(folder, table=table.filter(pc.less(table["at"], pa.scalar(datetime.now(UTC)))))
    (folder / "airflow.env").write_text(AIRFLOW)
    found = Services(folder)
    try:
        found.narrows("up", "--port", str(PORT))
        yield found
    finally:
        print(found.narrows("down", check=False))
        shutil.rmtree(folder / "var" / "postgres", ignore_errors=True)


def yesterday():
    return datetime.now(UTC).date() - timedelta(days=1)


def test_it_runs_daily_by_the_clock_and_a_second_run_of_a_room_is_refused(services):
    end = time.monotonic() + 120
    while not (runs := services.ask("/api/v2/dags/daily/dagRuns")["dag_runs"]):
        assert time.monotonic() < end
        time.sleep(1)
    [run] = runs
    assert (run["run_type"], run["partition_key"]) == ("scheduled", str(yesterday()))
    services.working_on("user_profiles")
    refused = services.narrows("transform", "user_profiles", "--asof", str(yesterday()), check=False)
    assert refused.returncode == 75, refused.stderr
    assert "another run holds" in refused.stderr
    assert services.over(run["dag_run_id"]) == "success"
    assert {task["try_number"] for task in services.tasks(run["dag_run_id"]).values()} == {1}
    assert services.narrows("show", "h1").stdout.count("\n") > 5
    again = services.narrows("up", "--port", str(PORT))
    assert f"http://127.0.0.1:{PORT}/" in again.stdout


def test_a_worker_that_is_killed_in_mid_room_is_replaced_while_two_schedulers_run(services):
    env = services.processes("airflow scheduler")[0].environ()
    second = subprocess.Popen(
        [sys.executable, "-m", "airflow", "scheduler", "--skip-serve-logs"], env=env, start_new_session=True
    )
    try:
        run = services.trigger(str(yesterday() - timedelta(days=7)))
        room = services.working_on("item_profiles")
        for worker in room.parents():
            if worker.pid in {each.pid for each in services.processes("airflow scheduler")}:
                break
            worker.kill()
        room.kill()
        assert services.over(run) == "success"
    finally:
        psutil.Process(second.pid).kill()
        second.wait()
    tasks = services.tasks(run)
    assert tasks["item_profiles"]["try_number"] > 1
    assert {task["try_number"] for name, task in tasks.items() if name in ("events", "recall", "rank")} == {1}


def test_a_run_outlives_a_killed_scheduler_and_a_restart_of_the_database(services):
    run = services.trigger(str(yesterday() - timedelta(days=6)))
    services.working_on("user_profiles")
    for scheduler in services.processes("airflow scheduler"):
        with suppress(psutil.NoSuchProcess):
            scheduler.kill()
    services.working_on("recall")
    server = int((services.state / "postgres" / "postmaster.pid").read_text().splitlines()[0])
    os.kill(server, signal.SIGINT)  # it ends at once, and the supervisor starts it again
    assert services.over(run) == "success"
    assert all(task["state"] == "success" for task in services.tasks(run).values())
