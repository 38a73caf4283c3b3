"""One run of a DAG, created here: ``python -m narrows.cli.airflow.alone HOW FOLDER DAG RUN_ID CONF``.

HOW is ``run``: its tasks are run in this process, with no scheduler and no server, as `DAG.test` does; or ``queue``:
a scheduler that is up runs them. `DAG.test` cannot name a run, and parses the DAG files a second time.

Garbage is collected rarely, because Airflow keeps a million objects to the end.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from narrows.engine.garbage import rarely_collected

WHO = "narrows dag"
"""The user that Airflow shows for a run of the command line."""


def main(how: str, folder: str, dag_id: str, run_id: str, conf: str) -> int:
    """Create the run with the JSON object ``conf``; the exit status is 0, or 1 where a task failed or no DAG was found."""
    from airflow.utils.session import create_session

    dag = _synchronized(folder, dag_id)
    if dag is None:
        return 1
    with create_session(scoped=False) as session:
        run = _create(dag_id, run_id, json.loads(conf), how == "queue", session)
        if how == "queue":
            return 0
        _run(dag, run, session)
        return 0 if run.state == "success" else 1


def _synchronized(folder: str, dag_id: str) -> Any:
    """The DAG of the folder, after Airflow's database knows it as it is now; None if it cannot be read."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db

    manager = DagBundlesManager()
    manager.sync_bundles_to_db()
    bundle = next(iter(manager.get_all_dag_bundles()))  # of the one DAG folder
    bundle.initialize()
    bag = BundleDagBag(bundle.path, bundle_path=bundle.path, bundle_name=bundle.name)
    if dag_id not in bag.dags:
        print(f"{folder} has no DAG {dag_id!r}. {bag.import_errors or ''}", file=sys.stderr)
        return None
    sync_bag_to_db(bag, bundle.name, bundle.version)
    return bag.dags[dag_id]


def _create(dag_id: str, run_id: str, conf: dict[str, Any], queued: bool, session: Any) -> Any:
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.sdk import timezone
    from airflow.utils.state import DagRunState
    from airflow.utils.types import DagRunTriggeredByType, DagRunType

    dag, now = SerializedDagModel.get_dag(dag_id, session=session), timezone.utcnow()
    assert dag  # it has just been written
    run = dag.create_dagrun(
        run_id=run_id,
        run_after=now,
        start_date=now,
        conf=conf,
        partition_key=conf.get("asof") if dag.timetable.partitioned else None,
        run_type=DagRunType.MANUAL,
        state=DagRunState.QUEUED if queued else DagRunState.RUNNING,
        triggered_by=DagRunTriggeredByType.CLI if queued else DagRunTriggeredByType.TEST,
        triggering_user_name=WHO,
        session=session,
    )
    session.commit()
    return run


def _run(dag: Any, run: Any, session: Any) -> None:
    """Run the tasks in the order of their dependencies, one at a time and with their retries: the loop of `DAG.test`."""
    from airflow.sdk import DagRunState, TaskInstanceState, timezone
    from airflow.sdk.definitions.dag import _run_task

    run.dag.on_failure_callback = dag.on_failure_callback  # a serialized DAG has lost it
    while run.state == DagRunState.RUNNING:
        session.expire_all()
        ready, _ = run.update_state(session=session)
        for task in ready:
            if task.state != TaskInstanceState.UP_FOR_RESCHEDULE:
                task.try_number += 1
            task.state, task.scheduled_dttm = TaskInstanceState.SCHEDULED, timezone.utcnow()
        session.commit()
        for task in sorted(ready, key=lambda task: dag.task_ids.index(task.task_id)):
            _run_task(ti=task, task=dag.task_dict[task.task_id])
        if not ready and run.state == DagRunState.RUNNING:  # a retry waits for its time
            time.sleep(0.5)
    session.commit()


if __name__ == "__main__":
    with rarely_collected():
        code = main(*sys.argv[1:])
    sys.exit(code)
