"""What a room reads for a partition: its own as-of's tables, earlier partitions, the truth, and the run's values."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from narrows.asof import Asof
from narrows.run import closing, touched
from narrows.run.fingerprint import past_count
from narrows.source.errors import SourceAway, SourceError
from narrows.source.urls import redacted
from narrows.stage import Flow, Past, Previous, Recent, Stage, Table, Truth, parameters
from narrows.store.partitions import StoreError

if TYPE_CHECKING:
    from narrows.run.runner import Runner


class WhenUsed:
    """A Spark session that starts when it is first used: where the rows are few, a room does without."""

    def __init__(self, start: Callable[[], Any]) -> None:
        self._start = start

    def __getattr__(self, name: str) -> Any:
        return getattr(self._start(), name)


class Pending(RuntimeError):
    """The partition cannot be made yet: its horizon has not closed."""


def resolve(runner: Runner, room: Stage, method: Any, asof: Asof) -> dict[str, Any]:
    """Every table that a method reads for a partition, by parameter; what is missing is made."""
    inputs: dict[str, Any] = {}
    for table, kind in parameters(method).items():
        if kind == "same":
            inputs[table] = same(runner, table, asof)
        elif kind == "flow":
            inputs[table] = Flow({name: runner.table(name, asof) for name in runner.pipeline.narrowing})
        elif kind == "truth":
            inputs[table] = truth(runner, table, asof)
        elif kind == "previous":
            found = touched.previous(runner, table, asof)
            inputs[table] = Previous({found.asof: found} if found else {})
        else:
            inputs[table] = past(runner, room, table, asof, recent=kind == "recent")
    return inputs


def same(runner: Runner, table: str, asof: Asof) -> Table:
    """The partition of the as-of: of a room that serves earlier as-ofs what they knew, of a side table its rows."""
    maker = runner.pipeline.makers[table]
    partition = known(runner, maker, asof) if runner.serves_earlier(maker) else runner.table(maker, asof)
    return partition if table == maker else partition.side(table)


def known(runner: Runner, name: str, asof: Asof) -> Table:
    """A table as known by ``asof``: of the published partition nearest at or after it readers see no later row."""
    for later in () if (name, asof) in runner.given else runner.store.partitions(name):
        if later == asof:
            break
        table = runner.published(name, later) if later > asof else None
        if table:
            return table.known_at(asof)
    return runner.table(name, asof)


def handed_on(runner: Runner, name: str, asof: Asof) -> Table | None:
    """The version of a room's table that an earlier task handed on; None where none was.

    Raises:
        StoreError: the store does not have it: nothing is made in its place.
    """
    version = runner.given.get((name, asof))
    if not version:
        return None
    if table := runner.store.find(name, asof, version):
        return table
    raise StoreError(
        f"{name} as of {asof} was made as {version}, and {redacted(str(runner.settings.tables))} does not have it. Let every "
        f"worker see the same store ([store] root and tables); if the version was deleted since, clear the task {name} too."
    )


def earlier(runner: Runner, name: str, asof: Asof) -> Table | None:
    """The newest partition up to ``asof`` that was published by the same recipe, whatever the source has had since."""
    return runner.published(name, asof) or touched.previous(runner, name, asof)


def past(runner: Runner, room: Stage, table: str, asof: Asof, recent: bool, stored: bool = False) -> Past:
    """Earlier partitions as they were published by the same recipe, and of a ``recent`` table the own one.

    A published partition is never remade because later or late data arrived: a past training set stays as it was. With
    ``stored`` the own one is what is published as well.
    """
    partitions = (Recent if recent else Past)()
    own = recent and not runner.making_past and not stored
    if own:
        runner.table(table, asof)  # before looking at the earlier ones: making it may make them
    newest = asof if recent else asof - runner.horizon
    for number in range(past_count(runner.settings, room, table) - 1, -1, -1):
        day = newest - number * runner.horizon
        if partition := runner.table(table, day) if own and day == asof else runner.published(table, day):
            partitions[day] = partition
    return partitions


def truth(runner: Runner, name: str, asof: Asof) -> Truth:
    """The rows of the horizon after ``asof``.

    Raises:
        Pending: the horizon has not closed.
    """
    end = asof + runner.horizon
    if not closing.closed(runner, end):
        until = known(runner, runner.source_room, asof).notes["until"]
        raise Pending(f"the horizon after {asof} closes with {end}; the source ends with {until}")
    return runner.table(name, end).truth(asof)


def hold(runner: Runner, asof: Asof) -> str:
    """Why what is made as of a partition must not go live; empty where it may. An empty hour of a live source is no reason."""
    notes = known(runner, runner.source_room, asof).notes
    stale = notes["ends"] < str(asof) and not notes["goes_on"]
    stale = stale and not closing.quiet(asof, Asof.parse(notes["ends"], asof.grain))
    return f"the source ends with {notes['ends']}" if stale else ""


def require_reached(runner: Runner, asof: Asof) -> None:
    """Refuse an as-of that the source does not reach, before anything is learnt from it; ``runner.force`` lets it pass.

    Raises:
        SourceError: the source ends before the as-of; the message has the last one that can be made. A `SourceAway` where
            it ends within a horizon before: its rows may be late.
    """
    if not runner.force and hold(runner, asof):
        ends = known(runner, runner.source_room, asof).notes["ends"]
        late = Asof.parse(ends, asof.grain) + runner.horizon >= asof
        raise (SourceAway if late else SourceError)(
            f"[source] ends with {ends}: of {asof} there is no event, so its lists would be stale. "
            f"Take --asof {ends}, wait for the feed, or replay with --force (its lists do not go live)."
        )


def arguments(
    runner: Runner, method: Any, reads: dict[str, Any], asof: Asof, asofs: list[Asof] | None = None
) -> dict[str, Any]:
    """The arguments of a room's method: the tables that it reads, and the run's values that it asks for by name."""
    values = {
        "asof": lambda: asof,
        "asofs": lambda: asofs or [asof],
        "source": lambda: runner.source,
        "earlier": lambda: earlier(runner, runner.source_room, asofs[0] if asofs else asof),
        "hold": lambda: hold(runner, asof),
        "horizon": lambda: runner.horizon,
        "since": lambda: touched.since(runner, asof),
        "session": lambda: WhenUsed(lambda: runner.session),
        "settings": lambda: runner.settings,
        "visit": lambda: runner.settings.source.visit_length,
    }
    wanted = inspect.signature(method).parameters
    return {
        name: reads[name] if name in reads else values[name]() for name in wanted if name in reads or name in values
    }
