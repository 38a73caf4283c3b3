"""Airflow from the command line: where it keeps its state, and one run of the daily DAG.

`narrows.cli.airflow.alone` runs the DAG's tasks one after another in one process with no scheduler and no server, in the
order of their dependencies and with their retries, and records the run like any other. While `narrows ui` is up, its
scheduler runs them.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from narrows.cli.airflow.tasks import DEFAULTS, TASK_LOGS
from narrows.engine.telemetry import OFF

if TYPE_CHECKING:
    from narrows.store.partitions import Store

ROOT = Path(__file__).parents[3]
DAGS = ROOT / "dags"
SETTINGS = ROOT / "infra" / "airflow" / "local.env"
PLUGINS = ROOT / "infra" / "airflow" / "plugins"

CONN = "AIRFLOW_CONN_"
"""How variables begin that hold connections, such as that of the mail server: these are inherited."""


class WorkflowError(RuntimeError):
    """A run or its pages cannot be started; the message names the remedy."""


def environment(state: Path, dags: Path = DAGS, settings: Path = SETTINGS) -> dict[str, str]:
    """The environment in which Airflow sees this project's DAGs and keeps all it has below ``state``.

    Airflow's settings come from a file alone, by default ``infra/airflow/local.env``: an Airflow that is set up on this machine
    for something else is neither read nor touched.

    Raises:
        WorkflowError: the package is installed without its repository.
    """
    if not settings.exists():
        raise WorkflowError(f"{settings} is missing: run from a clone of the repository.")
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW_") or CONN in key}
    home = state.absolute() / "airflow"
    return {
        **inherited,
        **OFF,
        **variables(settings),
        DEFAULTS: "1",
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags.absolute()),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PLUGINS),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
        # airflow.cfg holds absolute paths: of where the state folder was when Airflow first ran in it
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
        "AIRFLOW__LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY": str(home / "logs" / "dag_processor"),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
    }


def variables(file: Path) -> dict[str, str]:
    """The environment variables of a file with one a line."""
    lines = [line for line in file.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines if "=" in line)


def run_dag(asof: str, state: Path, dags: Path = DAGS, force: bool = False, store: Store | None = None) -> int:
    """Run the daily DAG for one partition and wait for it; its rooms' progress goes to standard error.

    Each call is a run of its own, so a second one of the same partition stands beside the first in the UI;
    what its rooms have made already they take from the store. While `narrows ui` is up its scheduler runs it.

    Args:
        asof: the partition, such as 2017-11-30.
        state: the state folder; Airflow's database and logs are kept in ``airflow`` below it.
        dags: the folder of the DAG files.
        force: run it also where the source does not reach the as-of.
        store: the tables; None = those in the state folder.

    Returns:
        0 when every task succeeded, else 1.

    Raises:
        StoreError: another run holds the store; says which.
        WorkflowError: Airflow could not start.
    """
    from narrows.cli.airflow.runs import SCHEDULER, close_cut_off, follow, locked
    from narrows.store.partitions import Store

    env = environment(state, dags)
    home = Path(env["AIRFLOW_HOME"])
    run_id = f"{asof}__{datetime.now(UTC):%Y%m%dT%H%M%S.%f}"
    conf = json.dumps({"asof": asof, **({"force": True} if force else {})})
    about = [str(dags), "daily", run_id, conf]
    with locked(home) as who:
        if who == SCHEDULER:
            print(f"`narrows ui` is up: its scheduler runs {run_id}.", file=sys.stderr, flush=True)
            return _dag_alone(["queue", *about], env) or int(not follow(home, run_id))
        with (store or Store(state.absolute() / "tables")).lock(f"the daily DAG as of {asof}"):
            env = environment(state, dags) | {TASK_LOGS: str(home / "logs")}  # now with the holder of the lock
            migrate(env)
            fail_in_mlflow(close_cut_off(home), env)
            try:
                return _dag_alone(["run", *about], env)
            finally:
                fail_in_mlflow(close_cut_off(home), env)


def _dag_alone(arguments: list[str], env: dict[str, str]) -> int:
    """Call `narrows.cli.airflow.alone` and wait; 0 or 1. SIGKILL ends it: Airflow outlives SIGTERM and would go on."""
    log_file = Path(env["AIRFLOW_HOME"], "airflow.log")
    with log_file.open("w") as log, ended(signal.SIGKILL) as processes:
        processes.append(start(["narrows.cli.airflow.alone", *arguments], env, stdout=log))
        code = processes[0].wait()
    if code:
        print(f"The run failed. Airflow's own log: {log_file}", file=sys.stderr)
    return int(bool(code))


def fail_in_mlflow(run_ids: list[str], env: dict[str, str]) -> None:
    """Mark in MLflow the runs that were cut off; nobody waits for it."""
    if run_ids:
        start(["narrows.cli.airflow.failed", *run_ids], env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def start(module: list[str], env: dict[str, str], **streams: object) -> subprocess.Popen[bytes]:
    """Start a Python module and its arguments as the leader of a session of its own."""
    return subprocess.Popen([sys.executable, "-m", *module], env=env, start_new_session=True, **streams)  # type: ignore[call-overload]


@contextmanager
def ended(*signals: signal.Signals) -> Iterator[list[subprocess.Popen[bytes]]]:
    """A list of processes that end, with all below them, when the block does: also by Ctrl-C or SIGTERM.

    They get ``signals`` in turn, with 5 s to end after each. What they started in sessions of its own is killed last.
    """
    import psutil

    processes: list[subprocess.Popen[bytes]] = []
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        yield processes
    finally:
        below = []
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                below += psutil.Process(process.pid).children(recursive=True)
        for sign in signals:
            for process in processes:
                if process.poll() is None:
                    os.killpg(process.pid, sign)
            end = time.monotonic() + 5
            for process in processes:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(max(0, end - time.monotonic()))
        for left in below:
            with suppress(psutil.NoSuchProcess):
                left.kill()
        signal.signal(signal.SIGTERM, before)


def migrate(env: dict[str, str]) -> None:
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
