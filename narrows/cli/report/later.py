"""Runs whose lists are judged by a later run: their records, pages and rows in MLflow anew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from narrows.cli.report import page, record
from narrows.cli.report.summary import PUBLISHER
from narrows.store.partitions import open_store
from narrows.version import commit

if TYPE_CHECKING:
    from narrows.settings import Settings
    from narrows.stage import Table


def record_again(settings: Settings, judged: Sequence[Table], log: bool) -> None:
    """Record runs anew whose lists were judged by a later run, and tell MLflow, as a rerun of them would have.

    Args:
        settings: of the later run.
        judged: the partitions of evaluation that it made.
        log: whether MLflow is told.
    """
    store = open_store(settings)
    for table in judged:
        if not (lists := store.current(PUBLISHER, table.asof)):
            continue
        run_id, records = lists.meta["run_id"], record.read_all(settings.state)
        code = next((each["code"] for each in records if each["run_id"] == run_id), commit() or "unknown")
        entry = record.write(settings, run_id, table.asof, code)
        file = page.publish(settings, entry)
        if log:
            from narrows.cli.mlflow import logged
            from narrows.tracking.log import RunLog

            run_log = RunLog(settings, run_id, table.asof)
            run_log.finish(**logged.closing(entry))
            run_log.attach(file, "report.html")
