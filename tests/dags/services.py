"""Real services (`narrows up`) of a folder, and what a test asks of them and does to them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psutil

from narrows.cli.airflow.workflow import ROOT

T = TypeVar("T")
AIRFLOW = """
AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT=120
AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL=5
AIRFLOW__CORE__MAX_TASK_RETRY_DELAY=15
"""
MINUTES = 40.0
ENDED = ("success", "failed")


def until(what: str, found: Callable[[], T], minutes: float = MINUTES, alive: Callable[[], str] = lambda: "") -> T:
    """What is found as soon as it is true; while a service is away it is asked again.

    Args:
        what: is awaited, for the error.
        found: looks.
        minutes: to wait.
        alive: says why it is of no use to wait any longer; empty = it is.
    """
    end = time.monotonic() + 60 * minutes
    while time.monotonic() < end:
        with suppress(OSError, psutil.Error):
            if now := found():
                return now
        assert not (why := alive()), f"{what}: {why}"
        time.sleep(0.5)
    raise AssertionError(f"not within {minutes:.0f} minutes: {what}")


@dataclass
class Services:
    """The services of a settings folder."""

    folder: Path
    port: int
    """The first of seven."""

    def up(self) -> None:
        """Start them; PostgreSQL's user, who is another where this is root, must be able to reach the folder."""
        for each in (self.folder, *list(self.folder.parents)[:2]):
            each.chmod(0o755)
        done = self.narrows("up", "--port", str(self.port), check=False)
        assert not done.returncode, done.stderr

    def down(self) -> None:
        """End them, and delete the database."""
        done = self.narrows("down", check=False)
        shutil.rmtree(self.state / "postgres", ignore_errors=True)
        assert not done.returncode, done.stderr

    @property
    def state(self) -> Path:
        return self.folder / "var"

    def narrows(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """A command of a shell that uses these services."""
        env = {**os.environ, "PYTHONPATH": str(ROOT), **self.clients()}
        call = [sys.executable, "-m", "narrows", *command]
        return subprocess.run(call, env=env, cwd=self.folder, capture_output=True, text=True, check=check)

    def clients(self) -> dict[str, str]:
        file = self.state / "services" / "env"
        lines = file.read_text().splitlines() if file.exists() else []
        return dict(line.removeprefix("export ").split("=", 1) for line in lines)

    def ask(self, path: str, body: object = None, method: str | None = None) -> Any:
        """The answer of Airflow's REST API."""
        if not hasattr(self, "token"):
            password = json.loads((self.state / "secrets" / "airflow.json").read_text())["admin"]
            self.token = self._ask("/auth/token", {"username": "admin", "password": password}, "", None)["access_token"]
        return self._ask(path, body, self.token, method)

    def _ask(self, path: str, body: object, token: str, method: str | None) -> Any:
        headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def runs(self, dag: str = "daily") -> list[dict[str, Any]]:
        """Of a DAG, oldest first."""
        return list(self.ask(f"/api/v2/dags/{dag}/dagRuns?order_by=id")["dag_runs"])

    def trigger(self, asof: str, dag: str = "daily") -> str:
        """Start a run; its id."""
        return str(
            self.ask(f"/api/v2/dags/{dag}/dagRuns", {"logical_date": None, "conf": {"asof": asof}})["dag_run_id"]
        )

    def tasks(self, run: str, dag: str = "daily") -> dict[str, dict[str, Any]]:
        """Of a run, by name."""
        found = self.ask(f"/api/v2/dags/{dag}/dagRuns/{urllib.parse.quote(run)}/taskInstances")["task_instances"]
        return {task["task_id"]: task for task in found}

    def over(self, run: str, dag: str = "daily") -> str:
        """The state of a run when it has ended."""

        def state() -> str:
            found = str(self.ask(f"/api/v2/dags/{dag}/dagRuns/{urllib.parse.quote(run)}")["state"])
            return found if found in ENDED else ""

        return until(f"{run} is over", state)

    def processes(self, *words: str) -> list[psutil.Process]:
        """The processes of these services whose command has all these words."""
        found = []
        for each in psutil.process_iter():
            with suppress(psutil.Error):
                command, home = " ".join(each.cmdline()), str(self.state / "airflow")
                if all(word in command for word in words) and each.environ().get("AIRFLOW_HOME") == home:
                    found.append(each)
        return found

    def working_on(self, room: str, run: str) -> psutil.Process:
        """The process of a room of a run as soon as it holds the store: stopped, so that it does not end meanwhile; `go_on`."""

        def holder() -> psutil.Process | None:
            for each in self.processes(f"narrows transform {room} "):
                each.suspend()
                text = (self.state / "tables" / "LOCK").read_text()
                if text and json.loads(text)["pid"] == each.pid:
                    return each
                each.resume()
            return None

        def over() -> str:
            with suppress(OSError):
                task = self.tasks(run).get(room, {})
                return f"the task is over: {task['state']}" if task.get("state") in (*ENDED, "upstream_failed") else ""
            return ""

        return until(f"{room} of {run} holds the store", holder, alive=over)


def go_on(process: psutil.Process) -> None:
    """Let a stopped process go on."""
    process.resume()


def kill(process: psutil.Process) -> None:
    """End a process and all below it, whatever it does."""
    with suppress(psutil.NoSuchProcess):
        below = process.children(recursive=True)
        process.kill()
        for each in below:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        process.wait(30)
