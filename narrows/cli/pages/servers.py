"""What ran, and a way to run it: Airflow with its scheduler, MLflow, the reports and data docs, on loopback alone."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from narrows.cli.airflow.runs import SCHEDULER, close_cut_off, lock
from narrows.cli.airflow.workflow import SETTINGS, WorkflowError, ended, environment, fail_in_mlflow, migrate, start
from narrows.cli.mlflow import saved_view
from narrows.cli.pages.links import Pages
from narrows.cli.pages.served import LOOPBACK

SCHEDULING = {"scheduler": ["airflow", "scheduler", "--skip-serve-logs"], "dag-processor": ["airflow", "dag-processor"]}
"""Processes without a page. Logs are read from the folder; their server would listen beyond loopback."""

NO_JOBS = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
"""MLflow's server would start seven more processes, of 0.3 GB each, for the evaluation of language models."""


def ui(state: Path, tracking_uri: str, port: int = 8080, seconds: float = 120, experiment: str = "narrows") -> int:
    """Serve the Airflow UI, the MLflow UI, the reports and the data docs until Ctrl-C; run what is triggered in Airflow.

    While `narrows dag` runs the DAG, triggered runs wait for it. A run that is not over at Ctrl-C goes on when the
    pages are served next. Without a clone of the repository there is no DAG, and Airflow is left out.

    Args:
        state: the state folder; what is not there yet is made.
        tracking_uri: MLflow's store, e.g. ``sqlite:////a/mlflow.db``; a server's address is just printed.
        port: of the Airflow UI; MLflow, and the reports and data docs, take the next two.
        seconds: to wait for the pages to answer.
        experiment: of the runs in MLflow; the address that is printed opens its saved view.

    Returns:
        0 after Ctrl-C; 1 when a server ended by itself.

    Raises:
        WorkflowError: a port is in use, Airflow's database cannot be set up, or a page does not answer.
    """
    state = state.absolute()
    with_airflow = SETTINGS.exists()
    pages = {"Airflow": port, "MLflow": port + 1, "Reports and data docs": port + 2}
    mlflow = ["mlflow", "server", "--backend-store-uri", tracking_uri, "--workers", "1"]
    commands = {
        "Airflow": ["airflow", "api-server", "--host", LOOPBACK, "--port", str(port)],
        "MLflow": [*mlflow, "--host", LOOPBACK, "--port", str(port + 1)],
        "Reports and data docs": ["narrows.cli.pages.served", str(state), str(port + 2)],
    }
    addresses = {name: f"http://{LOOPBACK}:{at}/" for name, at in pages.items()}
    if tracking_uri.startswith("http"):
        del commands["MLflow"], pages["MLflow"]
        addresses["MLflow"] = tracking_uri
    if not with_airflow:
        for each in (commands, pages, addresses):
            del each["Airflow"]
        print("Airflow is left out: its DAG is in a clone of the repository.", file=sys.stderr)
    for name, at in pages.items():
        require_free(at, name)
    logs = state / "ui"
    logs.mkdir(parents=True, exist_ok=True)
    env = {**os.environ, **NO_JOBS}
    if with_airflow:
        others = Pages(str(state), tracking_uri, addresses["MLflow"], addresses["Reports and data docs"])
        env = environment(state) | NO_JOBS | {"AIRFLOW__API__BASE_URL": addresses["Airflow"]} | others.as_env()
        migrate(env)
    home, scheduling = state / "airflow", not with_airflow
    with ended(signal.SIGTERM, signal.SIGKILL) as processes:

        def started(command: list[str], log_name: str, *inherited: int) -> None:
            with (logs / f"{log_name}.log").open("w") as log:
                processes.append(start(command, env, stdout=log, stderr=log, pass_fds=inherited))

        def scheduled() -> bool:
            """Start what runs the tasks, if nobody else runs any; the lock is held as long as these processes live."""
            file = lock(home, SCHEDULER)
            if file is None:
                return False
            fail_in_mlflow(close_cut_off(home), env)
            for name, command in SCHEDULING.items():
                started(command, name, file)
            os.close(file)
            return True

        print(f"Starting {', '.join(pages)} ...", file=sys.stderr, flush=True)
        for command in commands.values():
            started(command, command[0])
        scheduling = scheduling or scheduled()
        try:
            for name in pages:
                problem = f"{name} does not answer; the logs in {logs} say why."
                _wait(addresses[name], processes, problem, seconds)
            addresses["MLflow"] = saved_view.address(addresses["MLflow"], experiment)
            for name, address in addresses.items():
                print(f"{name:<22} {address}", flush=True)
            if not scheduling:
                print("`narrows dag` runs the DAG now; what is triggered in Airflow starts after it.", flush=True)
            print("Ctrl-C ends them.", flush=True)
            while all(process.poll() is None for process in processes):
                scheduling = scheduling or scheduled()
                time.sleep(0.5)
        except KeyboardInterrupt:
            return 0
    print(f"A server ended by itself, so all were ended; the logs in {logs} say why.", file=sys.stderr)
    return 1


def require_free(port: int, name: str, instead: str = "three others: `narrows ui --port 9080`") -> None:
    """Nothing where a server can take the port.

    Raises:
        WorkflowError: it cannot; says what to type ``instead``.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port that was just let go is free
        try:
            probe.bind((LOOPBACK, port))
        except (OSError, OverflowError) as error:
            raise WorkflowError(
                f"Port {port}, for {name}, is in use or not allowed ({error}). "
                f"End the program that has it, or choose {instead}."
            ) from error


def _wait(address: str, processes: list[subprocess.Popen[bytes]], message: str, seconds: float) -> None:
    """Until the page answers."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and all(process.poll() is None for process in processes):
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.2)
    raise WorkflowError(message)
