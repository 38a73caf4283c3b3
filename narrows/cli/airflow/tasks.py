"""What a task of a DAG does: a command of ``narrows`` in a process of its own, and what follows from how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from narrows.cli import status
from narrows.cli.invocation import FILE

DEFAULTS = "NARROWS_DEFAULTS"
"""Set in the environment of an Airflow on this machine: a task without ``narrows.toml`` runs with the default settings."""
WARNS = "!!"
"""How a line of progress begins that is a warning, and is sent where ``[alerts]`` says so."""
TASK_LOGS = "NARROWS_TASK_LOGS"
"""Set while ``run_dag`` runs: the folder of Airflow's task logs, which no supervisor then writes."""


def run_room(
    room: str, asof: str, run_id: str, force: bool = False, reads: Mapping[str, str] = {}, catch_up: str = ""
) -> str:
    """Run one room in its own process and pass its progress on, line by line.

    Args:
        room: the room's name.
        asof: the partition, such as 2017-11-30.
        run_id: groups what belongs to one run in MLflow.
        force: make it also where the source does not reach the as-of.
        reads: the versions of the same as-of that earlier tasks handed on, by room: it reads these and makes none of them.
        catch_up: how often a run is due, such as 1h: as-ofs that were missed since the last lists are made first; empty = none.

    Returns:
        The version of the table that the room published: the last word that it printed.

    Raises:
        RuntimeError: it failed for a reason that may mend itself (exit status 75); its last words are in the log.
        AirflowFailException: it failed for another reason, or there are no settings.
    """
    command = ["transform", room, "--asof", asof, "--run-id", run_id, *["--force"] * force]
    command += ["--catch-up", catch_up] if catch_up else []
    command += [
        f"--reads={name}={version}" for name, version in reads.items() if version not in ("pending", "None", "")
    ]
    return (_run_command(command, f"{room} as of {asof}").split() or [""])[-1]


def run_stream() -> None:
    """Run ``narrows stream`` in its own process and pass its progress on.

    Raises:
        RuntimeError: it failed for a reason that may mend itself (exit status 75); its last words are in the log.
        AirflowFailException: it failed for another reason, or there are no settings.
    """
    _run_command(["stream"], "the stream")


def run_codesign(file: str, *arguments: str) -> str:
    """Run ``narrows codesign FILE`` in its own process and pass its progress on; what it printed.

    Args:
        file: an experiment's file, or the name of a ready one.
        arguments: more of the command's.

    Raises:
        RuntimeError: it failed for a reason that may mend itself (exit status 75); its last words are in the log.
        AirflowFailException: it failed for another reason, or there are no settings.
    """
    return _run_command(["codesign", "run", file, *arguments], f"the experiment {file}")


def _run_command(arguments: list[str], what: str) -> str:
    """Run a command of ``narrows``; what it printed on standard output."""
    require_settings()
    command, warnings = [sys.executable, "-m", "narrows", *arguments], []
    with _progress() as say, tempfile.TemporaryFile("w+") as output:
        with subprocess.Popen(command, stdout=output, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            try:
                for line in process.stderr:
                    say(line.rstrip())
                    if line.startswith(WARNS):
                        warnings.append(line.removeprefix(WARNS).strip())
            except BaseException:  # Airflow stops the task: its process goes along
                process.terminate()
                raise
        if code := process.returncode:
            message = f"{what} failed with exit status {code}; the lines above say why"
            if code in (-signal.SIGKILL, 128 + signal.SIGKILL):
                from narrows.engine.memory import REMEDY

                message = f"{what} was killed, most likely because memory ran out. {REMEDY}"
            say(message)
            # who stops a worker, or a task that missed its heartbeat, sends SIGTERM: the room itself did not fail
            if code in (status.TRY_AGAIN, status.TERMINATED, -signal.SIGTERM):
                raise RuntimeError(message)
            from airflow.sdk.exceptions import AirflowFailException

            raise AirflowFailException(message)
        if warnings:
            from airflow.sdk import get_current_context

            from narrows.cli.airflow import alerts

            alerts.warn(what, warnings, get_current_context())
        output.seek(0)
        return output.read()


def require_settings() -> None:
    """Nothing where the settings are named or lie in the folder; in an Airflow of this machine none means the defaults.

    Raises:
        AirflowFailException: a worker elsewhere that finds none would run the public data set.
    """
    if os.environ.get("NARROWS_FILE") or Path(FILE).is_file() or os.environ.get(DEFAULTS):
        return
    from airflow.sdk.exceptions import AirflowFailException

    raise AirflowFailException(
        f"there is no {FILE} in {Path.cwd()}, where this worker runs. Give its path in NARROWS_FILE to the scheduler, the DAG "
        "processor and every worker."
    )


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
