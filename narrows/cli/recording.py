"""The end of a run: its record, its page and its row in MLflow; and what an earlier run had to leave out of MLflow."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from narrows.asof import Asof
    from narrows.run.runner import Runner
    from narrows.settings import Settings
    from narrows.stage import Table
    from narrows.tracking.log import RunLog

LOG = logging.getLogger(__name__)


@contextmanager
def last_room(runner: Runner, asof: Asof) -> Iterator[None]:
    """While the last room runs and the run is closed: a note, which stays where the process ends within."""
    from narrows.tracking import unlogged

    state, room = runner.settings.state, runner.pipeline.names[-1]
    if runner.log:
        unlogged.note(state, unlogged.RUN, room, asof, run_id=runner.run_id, run_asof=str(asof))
    yield
    if runner.log:
        unlogged.logged(state, unlogged.RUN, room, asof)


def close(runner: Runner, asof: Asof, table: Table | None, judged: list[Table]) -> None:
    """Record a run whose last room is done, and close it in MLflow, unless it found everything in the store.

    With it the runs whose lists it ``judged``.
    """
    from narrows.cli.compare import previous
    from narrows.cli.report import later, page, record
    from narrows.cli.report.summary import PUBLISHER
    from narrows.version import commit

    made_something = bool(runner.new_versions or not table)
    later.record_again(runner.settings, judged, bool(runner.log))
    if PUBLISHER not in runner.pipeline.names:
        if runner.log and made_something:
            runner.log.finish(table.meta["notes"] if table else {})
        return
    entry = record.write(runner.settings, runner.run_id, asof, commit() or "unknown")
    if not made_something or entry["run_id"] != runner.run_id:
        if not (runner.settings.state / page.FOLDER / f"{entry['number']}.html").exists():
            page.publish(runner.settings, entry)
        return
    state = runner.settings.state
    if found := previous.against(state, record.read_all(state), entry):
        record.amend(state, entry, against=found)
        if found["warning"]:
            LOG.warning("!! %s", found["warning"])
    show(runner.settings, runner.log, entry, asof)


def show(settings: Settings, log: RunLog | None, entry: dict[str, Any], asof: Asof) -> None:
    """Make the page of a record, and close its run in MLflow."""
    from narrows.cli.mlflow import logged
    from narrows.cli.report import last_runs, page, record

    if log:
        record.amend(settings.state, entry, mlflow=log.place)
    file = page.publish(settings, entry)
    if log:
        log.curve(last_runs.series(settings.state, entry["source"], asof))
        log.finish(**logged.closing(entry))
        log.attach(file, "report.html")


def log_what_is_owed(runner: Runner) -> None:
    """Tell MLflow what earlier processes published and could not log; who calls holds the store.

    Models, tables and ends of runs, each into the run that made it; another run that was cut off is FAILED there.
    """
    from narrows.store.partitions import open_store
    from narrows.tracking import unlogged
    from narrows.tracking.log import RunLog

    settings, store = runner.settings, open_store(runner.settings)
    cut_off: dict[str, RunLog] = {}
    for one in unlogged.noted(settings.state) if runner.log else ():
        kind, name = one["kind"], one["room"]
        if kind == unlogged.RELEASE or name not in settings.rooms:
            continue  # the room that publishes it looks itself
        asof, run_asof = settings.asof(one["asof"]), settings.asof(one["run_asof"])
        log = RunLog(settings, one["run_id"], run_asof)
        if kind == unlogged.RUN:
            table = store.current(name, asof)
            if table and table.meta.get("run_id") == one["run_id"]:
                LOG.info("  %-16s %s  logged late: the end of run %s", name, asof, one["run_id"])
                _close_late(settings, log, asof)
                cut_off.pop(one["run_id"], None)
        elif table := store.find(f"{name}.model" if kind == unlogged.MODEL else name, asof, one["version"]):
            LOG.info("  %-16s %s  logged late: %s of run %s", name, asof, kind, one["run_id"])
            log(
                settings.rooms[name],
                table,
                unlogged.audit_of(one),
                table.model_folder if kind == unlogged.MODEL else None,
            )
            cut_off[one["run_id"]] = log
        unlogged.logged(settings.state, kind, name, asof)
    for run_id, log in cut_off.items():
        if run_id != runner.run_id:
            log.finish({}, "FAILED")


def _close_late(settings: Settings, log: RunLog, asof: Asof) -> None:
    from narrows.cli.report import record
    from narrows.cli.report.summary import PUBLISHER
    from narrows.version import commit

    if PUBLISHER in settings.pipeline.names:
        show(settings, log, record.write(settings, log.run_id, asof, commit() or "unknown"), asof)
    else:
        log.finish({})
