"""The three pages that show what ran: Airflow, MLflow and the data docs, on this machine's loopback alone."""

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

from narrows.cli import saved_view
from narrows.cli.airflow import WorkflowError, ended, environment, start

LOOPBACK = "127.0.0.1"


def ui(state: Path, tracking_uri: str, port: int = 8080, seconds: float = 120, experiment: str = "narrows") -> int:
    """Serve the Airflow UI, the MLflow UI and the data docs until Ctrl-C.

    Airflow shows its runs and their logs; it runs nothing, as no scheduler is started. It is left out where it has not
    run here: after `narrows run` alone.

    Args:
        state: the state folder, as ``run_dag`` left it.
        tracking_uri: MLflow's store, e.g. ``sqlite:////a/mlflow.db``; a server's address is just printed.
        port: of the Airflow UI; MLflow and the data docs take the next two.
        seconds: to wait for the pages to answer.
        experiment: of the runs in MLflow; the address that is printed opens its saved view.

    Returns:
        0 after Ctrl-C; 1 when a server ended by itself.

    Raises:
        WorkflowError: nothing has run yet, a port is in use, or a page does not answer.
    """
    state = state.absolute()
    if not (state / "tables").exists():
        raise WorkflowError(f"Nothing to show yet ({state / 'tables'} is missing): run the cascade, `narrows run`.")
    with_airflow = (state / "airflow" / "airflow.db").exists()
    docs = state / "data_docs"
    docs.mkdir(exist_ok=True)
    pages = {"Airflow": port, "MLflow": port + 1, "Data docs": port + 2}
    mlflow = ["mlflow", "server", "--backend-store-uri", tracking_uri, "--workers", "1"]
    commands = {
        "Airflow": ["airflow", "api-server", "--host", LOOPBACK, "--port", str(port)],
        "MLflow": [*mlflow, "--host", LOOPBACK, "--port", str(port + 1)],
        "Data docs": ["http.server", "--bind", LOOPBACK, "--directory", str(docs), str(port + 2)],
    }
    addresses = {name: f"http://{LOOPBACK}:{at}/" for name, at in pages.items()}
    if tracking_uri.startswith("http"):
        del commands["MLflow"], pages["MLflow"]
        addresses["MLflow"] = tracking_uri
    if not with_airflow:
        for each in (commands, pages, addresses):
            del each["Airflow"]
    for name, at in pages.items():
        _require_free(at, name)
    env = environment(state) | {"AIRFLOW__API__BASE_URL": addresses["Airflow"]} if with_airflow else dict(os.environ)
    logs = state / "ui"
    logs.mkdir(exist_ok=True)
    with ended(signal.SIGTERM, signal.SIGKILL) as processes:
        for command in commands.values():
            with (logs / f"{command[0]}.log").open("w") as log:
                processes.append(start(command, env, stdout=log, stderr=log))
        if not with_airflow:
            print("Airflow has not run here (`narrows dag` runs it), so its page is left out.", file=sys.stderr)
        print(f"Starting {', '.join(pages)} ...", file=sys.stderr, flush=True)
        try:
            for name in pages:
                problem = f"{name} does not answer; the logs in {logs} say why."
                _wait(addresses[name], processes, problem, seconds)
            addresses["MLflow"] = saved_view.address(addresses["MLflow"], experiment)
            for name, address in addresses.items():
                print(f"{name:<10} {address}", flush=True)
            print("Ctrl-C ends them.", flush=True)
            while all(process.poll() is None for process in processes):
                time.sleep(0.5)
        except KeyboardInterrupt:
            return 0
    print(f"A server ended by itself, so all were ended; the logs in {logs} say why.", file=sys.stderr)
    return 1


def _require_free(port: int, name: str) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port that was just let go is free
        try:
            probe.bind((LOOPBACK, port))
        except (OSError, OverflowError) as error:
            raise WorkflowError(
                f"Port {port}, for {name}, is in use or not allowed ({error}). "
                "End the program that has it, or choose three others: `narrows ui --port 9080`."
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
