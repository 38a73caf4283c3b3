"""What the DAGs of the whole line have in common: a task for each room, in the order of the pipeline."""

from __future__ import annotations

import os
import tomllib
from datetime import timedelta
from inspect import cleandoc, getdoc
from pathlib import Path
from typing import Any

from airflow.sdk import Param, task

from narrows.asof import DAY
from narrows.cli.airflow import alerts
from narrows.cli.airflow.tasks import run_room, run_stream
from narrows.cli.invocation import FILE
from narrows.config.sections import length_of
from narrows.pipeline import configured

HANDED_ON = "{{ ti.xcom_pull(task_ids='%s') }}"


CATCH_UP = "{{ '%s' if params.catch_up or not (params.asof or dag_run.run_type == 'backfill') else '' }}"
"""Whether a run makes what was missed: one by the clock, by an event or triggered without an as-of does."""


@task
def transform(room: str, asof: str, run: str, force: str, reads: dict[str, str], catch_up: str) -> str:
    """Run one room on what earlier tasks handed on; the version of what it published."""
    return run_room(room, asof, run, force == "True", reads, catch_up)


@task(doc_md="Take what has arrived in the live feed of `[stream]` into the source.")
def stream() -> None:
    """Take what has arrived in the live feed into the source."""
    run_stream()


def rooms(asof: str, every: str) -> None:
    """Add the tasks to the DAG that is being made; the first room makes up for missed as-ofs.

    Before them one takes the live feed, where the settings name one.

    Args:
        asof: the template of the run's as-of.
        every: how often a run is due, such as 1h.
    """
    pipeline, tasks = configured(), {}
    taken = stream() if said("stream", "landing") or said("stream", "kafka") else None
    for number, room in enumerate(pipeline.rooms):
        run = transform.override(task_id=room.name, doc_md=getdoc(room))
        handed = {name: HANDED_ON % name for name in sorted(pipeline.upstream(room.name))}
        first = CATCH_UP % every if not number else ""
        tasks[room.name] = run(room.name, asof, "{{ run_id }}", "{{ params.force }}", handed, first)
        for name in sorted(pipeline.waits_for(room.name)):
            tasks[name] >> tasks[room.name]
        if taken is not None and not pipeline.waits_for(room.name):
            taken >> tasks[room.name]


def common(page: str) -> dict[str, Any]:
    """What the DAGs have alike; ``page`` is the module's docstring."""
    return {
        "catchup": False,
        "max_active_runs": 1,
        "max_active_tasks": 1,  # of a run: a room holds the store and, on one machine, every core
        "on_failure_callback": alerts.on_failure(),
        "deadline": alerts.deadlines() or None,
        "doc_md": cleandoc(page),
    }


def params(empty: str) -> dict[str, Param]:
    """What a triggered run may be given; ``empty`` says which as-of it has without one."""
    about = "Last period whose events may be known: YYYY-MM-DD, or YYYY-MM-DDTHH where the grain is an hour."
    asof = Param(
        None, type=["null", "string"], pattern=r"^(\d{4}-\d{2}-\d{2}(T\d{2}(\d{2})?)?)?$", title="As of",
        description=f"{about} Empty: {empty}",
    )  # fmt: skip
    return {
        "asof": asof,
        "force": Param(False, type="boolean", title="Replay an as-of that the source does not reach"),
        "catch_up": Param(
            False,
            type="boolean",
            title="Before it make the as-ofs that were missed",
            description="Those since the last lists, in order. Without an as-of above, and by the clock, a run always does.",
        ),
    }


def retried(times: int, most: timedelta) -> dict[str, Any]:
    """Arguments of every task: tried again so often, each wait twice the last; a hung room holds the store for ``most``."""
    return {
        "owner": "narrows",
        "retries": times,
        "retry_delay": timedelta(seconds=30),
        "retry_exponential_backoff": 2.0,
        "max_retry_delay": timedelta(minutes=30),
        "execution_timeout": most,
    }


def grain() -> timedelta:
    """That of the settings; a day where it cannot be read, which is for the tasks to report."""
    try:
        return length_of(said("source", "grain") or "day")
    except ValueError:
        return DAY


def said(section: str, key: str) -> str:
    """What the settings' file, or the environment above it, says by itself; empty where it says nothing or cannot be read."""
    if given := os.environ.get(f"NARROWS_{section}__{key}".upper()):
        return given
    try:
        text = Path(os.environ.get("NARROWS_FILE") or FILE).read_text(encoding="utf-8")
        return str(tomllib.loads(text).get(section, {}).get(key) or "")
    except (OSError, ValueError, AttributeError):
        return ""
