"""`narrows ui` as a process of its own, and Airflow's REST API."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from narrows.cli.airflow.workflow import ROOT

ENDED = ("success", "failed")


def three_ports() -> int:
    """The first of three ports that are most likely free."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return min(probe.getsockname()[1], 65000)


def wait_for_pages(served: subprocess.Popen[str]) -> None:
    """Until all pages answer."""
    assert served.stdout
    for line in served.stdout:
        if "Ctrl-C" in line:
            return
    raise AssertionError("the pages did not come up")


def ask(port: int, path: str, body: Any = None, patience: float = 0, method: str | None = None) -> Any:
    """The answer of Airflow's REST API; what is not there yet may come for ``patience`` seconds."""
    data = json.dumps(body).encode() if body is not None else None
    headers = {"Content-Type": "application/json"}
    end = time.monotonic() + patience
    while True:
        request = urllib.request.Request(f"http://127.0.0.1:{port}/api/v2/{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)
        except OSError:  # an error of HTTP too
            if time.monotonic() > end:
                raise
            time.sleep(0.5)


def until_over(port: int, run: str, seconds: float = 600) -> Any:
    """The run of the DAG daily when it has ended."""
    end = time.monotonic() + seconds
    while (found := ask(port, f"dags/daily/dagRuns/{quoted(run)}", patience=60))["state"] not in ENDED:
        assert time.monotonic() < end, f"{run} is not over after {seconds:.0f} s"
        time.sleep(1)
    return found


def quoted(run: str) -> str:
    """A run's id in an address."""
    return urllib.parse.quote(run)


@dataclass
class Pages:
    """`narrows ui` for a settings file, which is started and ended as often as a test wants."""

    file: Path
    port: int = field(default_factory=three_ports)
    process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it, and wait until the DAG daily can be triggered; where the machine is busy, it is tried three times."""
        command = [sys.executable, "-m", "narrows", "--file", str(self.file), "ui", "--port", str(self.port)]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        for number in (1, 2, 3):
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)
            try:
                wait_for_pages(self.process)
                break
            except AssertionError:
                self.process.wait(60)
                if number == 3:
                    self.process = None
                    raise
        ask(self.port, "dags/daily", patience=300)

    def end(self) -> None:
        """As by Ctrl-C: every process has ended."""
        if self.process:
            self.process.send_signal(signal.SIGINT)
            assert self.process.wait(60) == 0
            self.process = None

    def trigger(self, **conf: Any) -> str:
        """Start a run of the DAG daily; its id."""
        made = ask(self.port, "dags/daily/dagRuns", {"logical_date": None, "conf": conf}, patience=60)
        return str(made["dag_run_id"])

    def task(self, run: str, name: str) -> Any:
        """A task of a run."""
        return ask(self.port, f"dags/daily/dagRuns/{quoted(run)}/taskInstances/{name}", patience=60)

    def give_up(self, run: str) -> None:
        """Mark a run as failed, as it is after the last try."""
        ask(self.port, f"dags/daily/dagRuns/{quoted(run)}", {"state": "failed"}, 60, "PATCH")
