"""The whole cascade, once a day: from source events to published lists and what they were worth.

One task a room, in the order of `stages.PIPELINE`; a room waits for the tables that it reads. Each task runs
`narrows transform ROOM --asof DATE` in a process of its own and hands on the version of the table that it
published, never rows. What exists already is found by its fingerprint: clearing and rerunning is cheap and
safe.

The run of a date makes the lists as of the end of the day before it. To make those of another day, trigger
the DAG with the parameter `asof`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from inspect import cleandoc, getdoc

from airflow.sdk import DAG, Param, task

from narrows.cli.airflow import run_room
from narrows.stage import inputs, load_room
from stages import PIPELINE

DAY = "{{ params.asof or macros.ds_add((dag_run.logical_date or dag_run.run_after) | ds, -1) }}"


@task
def transform(room: str, asof: str, run: str) -> str:
    """Run one room; the version of what it published."""
    return run_room(room, asof, run)


with DAG(
    "daily",
    schedule="@daily",
    start_date=datetime(2017, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    max_active_tasks=1,  # a room holds the store and, on one machine, every core
    default_args={
        "owner": "narrows",
        "retries": 2,
        "retry_delay": timedelta(seconds=20),
        "retry_exponential_backoff": True,
        "execution_timeout": timedelta(hours=6),  # a hung room must not hold the store for ever
    },
    params={
        "asof": Param(
            "",
            type="string",
            pattern=r"^(\d{4}-\d{2}-\d{2})?$",
            title="As of",
            description="Last day whose events may be known, YYYY-MM-DD; empty: the day before the run.",
        )
    },
    tags=["narrows", "daily"],
    doc_md=cleandoc(__doc__),
):
    made = {}
    for name in PIPELINE:
        room = load_room(name)
        made[name] = transform.override(task_id=name, doc_md=getdoc(room))(name, DAY, "{{ run_id }}")
        for table in inputs(room):
            if table in made and table != name:  # what stands below is read as earlier runs left it
                made[table] >> made[name]
