"""Airflow from the command line: one run of the daily DAG with no scheduler, no server and no network.

`narrows.cli.dag_alone` runs the DAG's tasks one after another in one process, in the order of their
dependencies and with their retries, and records the run like any other; `narrows.cli.pages` shows it afterwards.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[2]
DAGS = ROOT / "dags"
SETTINGS = ROOT / "infra" / "airflow" / "local.env"
TASK_LOGS = "NARROWS_TASK_LOGS"
"""Set while ``run_dag`` runs: the folder of Airflow's task logs, which no supervisor then writes."""


class WorkflowError(RuntimeError):
    """A run or its pages cannot be started; the message names the remedy."""


# -------------------------------------------------------------------- what a task does


def run_room(room: str, asof: str, run_id: str, force: bool = False) -> str:
    """Run one room in its own process and pass its progress on, line by line.

    Args:
        room: the room's name.
        asof: the partition, such as 2017-11-30.
        run_id: groups what belongs to one run in MLflow.
        force: make it also where the source does not reach the as-of.

    Returns:
        The version of the table that the room published: the last word that it printed.

    Raises:
        RuntimeError: the room failed; its last words are in the log.
        AirflowFailException: it failed for a reason that no retry mends (exit status 2: wrong settings).
    """
    command = [
        sys.executable,
        "-m",
        "narrows",
        "transform",
        room,
        "--asof",
        asof,
        "--run-id",
        run_id,
        *["--force"] * force,
    ]
    with _progress() as say, tempfile.TemporaryFile("w+") as output:
        with subprocess.Popen(command, stdout=output, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            try:
                for line in process.stderr:
                    say(line.rstrip())
            except BaseException:  # Airflow stops the task: its room goes along
                process.terminate()
                raise
        if code := process.returncode:
            message = f"{room} as of {asof} failed with exit status {code}; the lines above say why"
            say(message)
            if code != 2:
                raise RuntimeError(message)
            from airflow.sdk.exceptions import AirflowFailException

            raise AirflowFailException(message)
        output.seek(0)
        return (output.read().split() or [""])[-1]


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """A function that writes a line to where people look for it.

    Airflow's supervisor logs what a task prints. `dag_alone` has no supervisor: there the line goes
    to the terminal, and into the file in which the UI looks for the task's log.
    """
    if not (logs := os.environ.get(TASK_LOGS)):
        yield lambda line: print(line, flush=True)
        return
    from airflow.sdk import get_current_context

    ti = get_current_context()["ti"]
    folder = Path(logs, f"dag_id={ti.dag_id}", f"run_id={ti.run_id}", f"task_id={ti.task_id}")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"attempt={ti.try_number}.log").open("a", buffering=1) as file:

        def say(line: str) -> None:
            print(line, file=sys.stderr, flush=True)
            print(line, file=file)

        yield say


# -------------------------------------------------------------------- Airflow on this machine


def environment(state: Path, dags: Path = DAGS) -> dict[str, str]:
    """The environment in which Airflow sees this project's DAGs and keeps all it has below ``state``.

    Airflow's settings come from ``infra/airflow/local.env`` alone: an Airflow that is set up on this machine
    for something else is neither read nor touched.

    Raises:
        WorkflowError: the package is installed without its repository.
    """
    if not SETTINGS.exists():
        raise WorkflowError(f"{SETTINGS} is missing: run from a clone of the repository.")
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW_")}
    lines = [line for line in SETTINGS.read_text().splitlines() if line and not line.startswith("#")]
    home = state.absolute() / "airflow"
    return {
        **inherited,
        **dict(line.split("=", 1) for line in lines),
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags.absolute()),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
    }


def run_dag(asof: str, state: Path, dags: Path = DAGS, force: bool = False) -> int:
    """Run the daily DAG for one partition and wait for it; its rooms' progress goes to standard error.

    Each call is a run of its own, so a second one of the same partition stands beside the first in the UI;
    what its rooms have made already they take from the store.

    Args:
        asof: the partition, such as 2017-11-30.
        state: the state folder; Airflow's database and logs are kept in ``airflow`` below it.
        dags: the folder of the DAG files.
        force: run it also where the source does not reach the as-of.

    Returns:
        0 when every task succeeded, else 1.

    Raises:
        StoreError: another run holds the store; says which.
        WorkflowError: Airflow could not start.
    """
    from narrows.store.partitions import Store

    with Store(state.absolute() / "tables").lock(f"the daily DAG as of {asof}"):
        env = environment(state, dags)
        home = Path(env["AIRFLOW_HOME"])
        env[TASK_LOGS] = str(home / "logs")
        _migrate(env)
        _close_runs(home)
        conf = json.dumps({"asof": asof, **({"force": True} if force else {})})
        try:  # SIGKILL: Airflow outlives SIGTERM and would go on to the next task
            with (home / "airflow.log").open("w") as log, ended(signal.SIGKILL) as processes:
                processes.append(start(["narrows.cli.dag_alone", str(dags), "daily", conf], env, stdout=log))
                code = processes[0].wait()
        finally:
            _close_runs(home)
    if code:
        print(f"The run failed. Airflow's own log: {home / 'airflow.log'}", file=sys.stderr)
    return 1 if code else 0


def start(module: list[str], env: dict[str, str], **streams: object) -> subprocess.Popen[bytes]:
    """Start a Python module and its arguments as the leader of a session of its own."""
    return subprocess.Popen([sys.executable, "-m", *module], env=env, start_new_session=True, **streams)  # type: ignore[call-overload]


@contextmanager
def ended(*signals: signal.Signals) -> Iterator[list[subprocess.Popen[bytes]]]:
    """A list of processes that end, with all below them, when the block does: also by Ctrl-C or SIGTERM.

    They get ``signals`` in turn, with 5 s to end after each.
    """
    processes: list[subprocess.Popen[bytes]] = []
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        yield processes
    finally:
        for sign in signals:
            for process in processes:
                if process.poll() is None:
                    os.killpg(process.pid, sign)
            for process in processes:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(5)
        signal.signal(signal.SIGTERM, before)


def _migrate(env: dict[str, str]) -> None:
    """Make Airflow's database or bring it up to the installed version; once a version, for it takes time."""
    home = Path(env["AIRFLOW_HOME"])
    marker, wanted = home / "migrated", version("apache-airflow")
    if (home / "airflow.db").exists() and marker.exists() and marker.read_text() == wanted:
        return
    home.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "airflow", "db", "migrate"]
    with (home / "migrate.log").open("w") as log:
        code = subprocess.run(command, env=env, stdout=log, stderr=log).returncode
    if code:
        raise WorkflowError(
            f"Airflow could not set up its database; {log.name} says why. "
            f"If you can spare the history of its runs, delete {home} and run again."
        )
    marker.write_text(wanted)


def _close_runs(home: Path) -> None:
    """Mark runs that were cut off as failed; who holds the store knows that no other run is alive."""
    open_task = "COALESCE(state, '') NOT IN ('success', 'failed', 'skipped', 'upstream_failed', 'removed')"
    open_runs = "state IN ('queued', 'running')"
    failed = "SET state = 'failed', end_date = strftime('%Y-%m-%d %H:%M:%f', 'now')"
    database = sqlite3.connect(home / "airflow.db", timeout=30)
    with database:
        runs = f"SELECT run_id FROM dag_run WHERE {open_runs}"
        database.execute(f"UPDATE task_instance {failed} WHERE {open_task} AND run_id IN ({runs})")
        database.execute(f"UPDATE dag_run {failed} WHERE {open_runs}")
    database.close()
