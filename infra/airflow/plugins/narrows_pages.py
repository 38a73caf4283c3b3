"""What Airflow's pages show of a run beyond Airflow: links of every task, and the as-of of runs that were triggered."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin
from airflow.sdk import BaseOperatorLink

from narrows.cli.pages.links import Pages


class Page(BaseOperatorLink):
    """A page about the table that a task made; `kind` names the method of `Pages`."""

    kind = ""

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """The address; empty in an Airflow that `narrows ui` did not start."""
        pages = Pages.of()
        return str(getattr(pages, self.kind)(ti_key.task_id, version_of(ti_key))) if pages else ""


class MLflowRun(Page):
    name = "MLflow run"
    kind = "mlflow_run"


class DataDocs(Page):
    name = "Data docs"
    kind = "data_docs"


class Report(Page):
    name = "Report"
    kind = "report"


def version_of(ti_key: Any) -> str:
    """What the task returned, the version of its table; empty before it has ended and where it failed."""
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    query = XComModel.get_many(
        key="return_value", run_id=ti_key.run_id, dag_ids=ti_key.dag_id, task_ids=ti_key.task_id,
        map_indexes=ti_key.map_index,
    ).with_only_columns(XComModel.value)  # fmt: skip
    with create_session() as session:
        found = session.execute(query).first()
    return str(found.value).strip('"') if found else ""


class AsOf:
    """Notes the as-of of a run that was triggered: Airflow names it after the time when it was."""

    @hookimpl
    def on_dag_run_running(self, dag_run: Any, msg: str) -> None:
        """As the DAG works it out; see ASOF in dags/daily.py."""
        asof = (dag_run.conf or {}).get("asof") or dag_run.partition_key
        if not asof:
            asof = f"{(dag_run.logical_date or dag_run.run_after) - timedelta(days=1):%Y-%m-%d}"
        dag_run.partition_key = asof


class NarrowsPages(AirflowPlugin):
    name = "narrows_pages"
    global_operator_extra_links = [MLflowRun(), DataDocs(), Report()]
    listeners = [AsOf()]
