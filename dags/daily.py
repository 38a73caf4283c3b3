"""The whole cascade, once a day: from source events to published lists and what they were worth.

One task a room, in the order of the pipeline; a room waits for the tables that it reads. Each task runs
`narrows transform ROOM --asof DATE` in a process of its own and hands on the version of the table that it
published, never rows; a later task reads just these versions. What exists already is taken from the store:
clearing and rerunning is cheap and safe. A failure that may mend itself (exit status 75) is tried again
later, any other fails at once.

A run has an as-of, which Airflow shows as its partition key: of a run by the clock the day before, of a
backfill each day of its range, of a triggered run the parameter "As of" (empty: the day before). An as-of that
the source does not reach fails at once and names the last one that can be made.

After an outage the next run by the clock first makes the days that were missed since the last lists, in order, in its first
task, each as a run of its own in MLflow and in the reports: `[engine] catch_up`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, CronPartitionTimetable

from narrows.cli.airflow import line

ASOF = (
    "{{ params.asof or dag_run.partition_key or macros.ds_add((dag_run.logical_date or dag_run.run_after) | ds, -1) }}"
)

with DAG(
    "daily",
    schedule=CronPartitionTimetable("@daily", timezone="UTC", run_offset=-1, key_format="%Y-%m-%d"),
    start_date=datetime(2017, 1, 1, tzinfo=UTC),
    default_args=line.retried(8, timedelta(hours=6)),  # over about two hours
    params=line.params("in a backfill each day of its range, else the day before today."),
    tags=["narrows", "daily"],
    **line.common(__doc__),
):
    line.rooms(ASOF, every="1d")
