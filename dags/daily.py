"""The whole cascade, once a day: from source events to published lists and what they were worth.

One task a room, in the order of the pipeline; a room waits for the tables that it reads. Each task runs
`narrows transform ROOM --asof DATE` in a process of its own and hands on the version of the table that it
published, never rows. What exists already is taken from the store: clearing and rerunning is cheap and
safe.

A run has an as-of, which Airflow shows as its partition key: of a run by the clock the day before, of a
backfill each day of its range, of a triggered run the parameter "As of" (empty: the day before). An as-of that
the source does not reach fails at once and names the last one that can be made.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from inspect import cleandoc, getdoc

from airflow.sdk import DAG, CronPartitionTimetable, Param, task

from narrows.cli.airflow.workflow import run_room
from narrows.pipeline import configured

ASOF = (
    "{{ params.asof or dag_run.partition_key or macros.ds_add((dag_run.logical_date or dag_run.run_after) | ds, -1) }}"
)


@task
def transform(room: str, asof: str, run: str, force: str) -> str:
    """Run one room; the version of what it published."""
    return run_room(room, asof, run, force == "True")


with DAG(
    "daily",
    schedule=CronPartitionTimetable("@daily", timezone="UTC", run_offset=-1, key_format="%Y-%m-%d"),
    start_date=datetime(2017, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    max_active_tasks=1,  # of a run: a room holds the store and, on one machine, every core
    default_args={
        "owner": "narrows",
        "retries": 2,
        "retry_delay": timedelta(seconds=20),
        "retry_exponential_backoff": True,
        "execution_timeout": timedelta(hours=6),  # a hung room must not hold the store for ever
    },
    params={
        "asof": Param(
            None,
            type=["null", "string"],
            pattern=r"^(\d{4}-\d{2}-\d{2}(T\d{2}(\d{2})?)?)?$",
            title="As of",
            description="Last period whose events may be known: YYYY-MM-DD, or YYYY-MM-DDTHH where the grain is an hour. "
            "Empty: in a backfill each day of its range, else the day before today.",
        ),
        "force": Param(False, type="boolean", title="Replay an as-of that the source does not reach"),
    },
    tags=["narrows", "daily"],
    doc_md=cleandoc(__doc__),
):
    pipeline, tasks = configured(), {}
    for room in pipeline.rooms:
        run = transform.override(task_id=room.name, doc_md=getdoc(room))
        tasks[room.name] = run(room.name, ASOF, "{{ run_id }}", "{{ params.force }}")
        for name in sorted(pipeline.waits_for(room.name)):
            tasks[name] >> tasks[room.name]
