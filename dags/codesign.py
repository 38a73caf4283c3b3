"""One co-design experiment: a task for each of its designs, then the report.

A task trains and judges one design with every seed by `narrows codesign FILE --design N`, in a process of its own; the last
one puts the results together, writes the report and logs the experiment to MLflow. What is there already is taken from the
state folder, so clearing and rerunning is cheap. The parameter is the experiment's file, or the name of a ready one.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from inspect import cleandoc
from typing import Any

from airflow.sdk import DAG, Param, get_current_context, task

from narrows.cli.airflow import alerts
from narrows.cli.airflow.tasks import run_codesign


def file() -> str:
    """The experiment that the run is of."""
    return str(get_current_context()["params"]["file"])


@task
def designs() -> list[int]:
    """The numbers of the designs; a bad file ends here."""
    import json

    return [each["design"] for each in json.loads(run_codesign(file(), "--list", "--json"))]


@task(map_index_template="{{ design }}", doc_md="Tune, train and judge one design.")
def design(number: int) -> int:
    """Tune, train and judge one design."""
    context: Any = get_current_context()
    context["design"] = run_codesign(file(), "--design", str(number)).strip() or str(number)
    return number


@task
def report(numbers: list[int]) -> None:
    """The report of all designs."""
    run_codesign(file())


with DAG(
    "codesign",
    schedule=None,
    start_date=datetime(2017, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    max_active_tasks=1,  # a training takes the cores that there are
    default_args={
        "owner": "narrows",
        "retries": 8,
        "retry_delay": timedelta(seconds=30),
        "retry_exponential_backoff": 2.0,
        "max_retry_delay": timedelta(minutes=30),
        "execution_timeout": timedelta(hours=12),
    },
    params={
        "file": Param(
            "scheme", type="string", minLength=1, title="Experiment", description="A file, or a ready one: scheme, ..."
        )
    },
    tags=["narrows", "codesign"],
    on_failure_callback=alerts.on_failure(),
    doc_md=cleandoc(__doc__),
):
    report(design.expand(number=designs()))  # type: ignore[arg-type]  # Airflow hands on the results
