"""The whole cascade every hour: what the last hour's events change in the lists and the fallback.

For settings with `grain = "hour"`. It runs five minutes past every hour, as of the hour that ended, and whenever somebody says
that events have arrived: an event of the asset `narrows://events/`, by a task with this outlet or by
`POST /api/v2/assets/events`. The rooms are those of `daily`, with the same tasks; what makes an hour cheap are the settings: `refit` keeps
the models of the day, `[recommendations] everybody` makes new lists only for users with an event since the run before, which
are laid over the release that serves.

Never two runs at once, and hours in order: the first task makes the hours that were missed since the last lists, after an
outage or a run that failed, before the run's own; each is a run of its own in MLflow and in the reports (`[engine] catch_up`).
An as-of by hand is the parameter "As of".
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, Asset, AssetOrTimeSchedule, CronTriggerTimetable

from narrows.cli.airflow import line

ASOF = "{{ params.asof or ((dag_run.logical_date or dag_run.run_after) - macros.timedelta(hours=1)).strftime('%Y-%m-%dT%H') }}"
ARRIVED = Asset("narrows_events", uri="narrows://events/")

with DAG(
    "hourly",
    schedule=AssetOrTimeSchedule(timetable=CronTriggerTimetable("5 * * * *", timezone="UTC"), assets=[ARRIVED]),
    start_date=datetime(2017, 1, 1, tzinfo=UTC),
    is_paused_upon_creation=line.grain() > timedelta(hours=1) or None,
    default_args=line.retried(6, timedelta(hours=2)),  # over half an hour
    params=line.params("the hour before now."),
    tags=["narrows", "hourly"],
    **line.common(__doc__),
):
    line.rooms(ASOF, every="1h")
