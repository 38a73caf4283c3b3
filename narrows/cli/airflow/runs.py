"""Who runs the tasks of the DAG's runs: one process at a time for a state folder, `narrows dag` or the scheduler of `narrows ui`.

Both would take up any run that is open in Airflow's database. Hence a lock, which the kernel frees when its holder and
all processes that inherited it have ended, however they end.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

SCHEDULER, ALONE = "narrows ui", "narrows dag"
ENDED = ("success", "failed")


def lock(home: Path, holder: str) -> int | None:
    """The open file of the lock if it was free, else None; close it to let go. A child that inherits it holds it too.

    Args:
        home: Airflow's folder.
        holder: `SCHEDULER` or `ALONE`.
    """
    home.mkdir(parents=True, exist_ok=True)
    file = os.open(home / "LOCK", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    os.truncate(file, 0)
    os.pwrite(file, holder.encode(), 0)
    return file


@contextmanager
def locked(home: Path) -> Iterator[str]:
    """Who runs the tasks while the block runs: `ALONE` if this process may, which then holds the lock."""
    file = lock(home, ALONE)
    if file is None:
        yield (home / "LOCK").read_text() or SCHEDULER
        return
    try:
        yield ALONE
    finally:
        os.close(file)


def close_cut_off(home: Path) -> list[str]:
    """Mark as failed what `narrows dag` ran and a kill cut off; who holds the lock knows that none of it is alive.

    Returns the ids of these runs.

    What a scheduler was given stays as it is: the next scheduler goes on with it.
    """
    open_task = "COALESCE(state, '') NOT IN ('success', 'failed', 'skipped', 'upstream_failed', 'removed')"
    open_runs = "state IN ('queued', 'running') AND triggered_by = 'TEST'"
    failed = "SET state = 'failed', end_date = strftime('%Y-%m-%d %H:%M:%f', 'now')"
    with closing(sqlite3.connect(home / "airflow.db", timeout=30)) as database, database:
        runs = f"SELECT run_id FROM dag_run WHERE {open_runs}"
        found = [str(run_id) for (run_id,) in database.execute(runs)]
        database.execute(f"UPDATE task_instance {failed} WHERE {open_task} AND run_id IN ({runs})")
        database.execute(f"UPDATE dag_run {failed} WHERE {open_runs}")
    return found


def follow(home: Path, run_id: str) -> bool:
    """Print what the rooms of a run say that a scheduler runs, until it has ended; whether it succeeded.

    Raises:
        KeyboardInterrupt: by Ctrl-C, after it was said that the run goes on.
    """
    printed: dict[Path, int] = {}
    try:
        while True:
            state = _state(home, run_id)
            for file in sorted((home / "logs").glob(f"dag_id=*/run_id={run_id}/task_id=*/*.log"), key=_modified):
                printed[file] = _print_new(file, printed.get(file, 0))
            if state in ENDED:
                return state == "success"
            time.sleep(0.5)
    except KeyboardInterrupt:
        print(f"The run {run_id} goes on in Airflow; mark it as failed there to stop it.", file=sys.stderr)
        raise


def _state(home: Path, run_id: str) -> str:
    """A run's state; failed if somebody deleted it."""
    with closing(sqlite3.connect(home / "airflow.db", timeout=30)) as database:
        found = database.execute("SELECT state FROM dag_run WHERE run_id = ?", (run_id,)).fetchone()
    return found[0] if found else "failed"


def _modified(file: Path) -> float:
    return file.stat().st_mtime


def _print_new(file: Path, begin: int) -> int:
    """Print what a task printed after the byte ``begin`` of its log; the byte to go on from. Half a line waits."""
    with file.open("rb") as log:
        log.seek(begin)
        for line in log:
            if not line.endswith(b"\n"):
                break
            begin += len(line)
            with suppress(ValueError):
                entry = json.loads(line)
                if entry.get("logger") == "task.stdout":
                    print(entry["event"], file=sys.stderr, flush=True)
    return begin
