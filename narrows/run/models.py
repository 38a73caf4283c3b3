"""The models of rooms that learn: fitted as of a partition, or the last one of an earlier as-of between refits."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from narrows.asof import Asof
from narrows.durations import parse
from narrows.engine.cost import meter
from narrows.engine.memory import give_back
from narrows.run import reads
from narrows.run.fingerprint import digest, versions
from narrows.run.publish import Draft
from narrows.stage import Table

if TYPE_CHECKING:
    from narrows.run.runner import Runner

LOG = logging.getLogger(__name__)


def last(runner: Runner, name: str, asof: Asof) -> Table | None:
    """The room's newest model of an earlier as-of that is not due to be fitted again, by the same recipe.

    Models that a first run fitted for its past count for that past alone: they knew less than a run of their as-of.
    """
    refit = getattr(runner.room(name), "refit", "")
    if not refit or runner.making_past:
        return None
    for earlier in reversed(runner.store.partitions(f"{name}.model")):
        if earlier <= asof - parse(refit):
            return None
        table = runner.store.current(f"{name}.model", earlier) if earlier < asof else None
        if table and table.meta["recipe"] == runner.recipe(name) and not table.meta["past"]:
            return table
    return None


def fitted(runner: Runner, name: str, asof: Asof) -> Table:
    """The room's model as of the partition: taken from the store, or fitted and published."""
    room = runner.room(name)
    tables = reads.resolve(runner, room, room.fit, asof)
    fingerprint = digest(runner.recipe(name), "model", str(asof), versions(tables))
    if table := runner.store.find(f"{name}.model", asof, fingerprint):
        runner.store.point(f"{name}.model", asof, fingerprint)
        return table
    LOG.info("  %-16s %s  fitting", name, asof)
    runner.end_session()
    runner.publisher.get_ready()  # what the fitted model makes will be audited
    with meter() as cost:
        model = room.fit(**reads.arguments(runner, room.fit, tables, asof))
        path = runner.store.draft(f"{name}.model", asof, fingerprint)
        (path / "model").mkdir()
        model.save(path / "model")
    give_back()
    notes, recipe = getattr(model, "notes", {}), runner.recipe(name)
    draft = Draft(room, asof, path, fingerprint, recipe, tables, cost, notes, past=runner.making_past)
    table = runner.publisher.model(draft)
    runner.keep(table, model)
    return table
