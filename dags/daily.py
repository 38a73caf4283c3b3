"""The whole cascade, once a day: from source events to published lists and what they were worth.

One task a room, in the order of the pipeline; a room waits for the tables that it reads. Each task runs
`narrows transform ROOM --asof DATE` in a process of its own and hands on the version of the table that it
published, never rows; a later task reads just these versions. What exists already is taken from the store:
clearing and rerunning is cheap and safe. A failure that may mend itself (exit status 75) is tried again
later, any other fails at once.

A run has an as-of, which Airflow shows as its partition key: of a run by the clock the day before, of a
backfill each day of its range, of a triggered run the parameter "As of" (empty: the day before). An as-of that
the source does not reach fails at once and names the last one that can be made.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from inspect import cleandoc, getdoc

from airflow.sdk import DAG, CronPartitionTimetable, Param, task

from narrows.cli.airflow import alerts
from narrows.cli.airflow.tasks import run_room
from narrows.pipeline import configured

ASOF = (
    "{{ params.asof or dag_run.partition_key or macros.ds_add((dag_run.logical_date or dag_run.run_after) | ds, -1) }}"
)
HANDED_ON = "{{ ti.xcom_pull(task_ids='%s') }}"


@task
def transform(room: str, asof: str, run: str, force: str, reads: dict[str, str]) -> str:
    """Run one room on what earlier tasks handed on; the version of what it published."""
    return run_room(room, asof, run, force == "True", reads)


with DAG(
    "daily",
    schedule=CronPartitionTimetable("@daily", timezone="UTC", run_offset=-1, key_format="%Y-%m-%d"),
    start_date=datetime(2017, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    max_active_tasks=1,  # of a run: a room holds the store and, on one machine, every core
    default_args={
        "owner": "narrows",
        "retries": 8,  # about two hours
        "retry_delay": timedelta(seconds=30),
        "retry_exponential_backoff": 2.0,
        "max_retry_delay": timedelta(minutes=30),
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
    on_failure_callback=alerts.on_failure(),
    deadline=alerts.deadlines() or None,
    doc_md=cleandoc(__doc__),
):
    pipeline, tasks = configured(), {}
    for room in pipeline.rooms:
        run = transform.override(task_id=room.name, doc_md=getdoc(room))
        handed = {name: HANDED_ON % name for name in sorted(pipeline.upstream(room.name))}
        tasks[room.name] = run(room.name, ASOF, "{{ run_id }}", "{{ params.force }}", handed)
        for name in sorted(pipeline.waits_for(room.name)):
            tasks[name] >> tasks[room.name]
