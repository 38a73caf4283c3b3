"""Lists are judged when their horizon has closed: by a later run, on what was published then."""

from __future__ import annotations

from bisect import bisect_left
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from narrows.asof import DAY, Asof
from narrows.run import work
from narrows.stage import Flow, Stage, Table, parameters

if TYPE_CHECKING:
    from narrows.run.runner import Runner


def closed(runner: Runner, asof: Asof) -> bool:
    """Whether a period is over and its rows have arrived, by what is published: nothing is made of a period to find out.

    Rows of a later period show it, or some of its own once the clock has passed its end: those of a period that is going on
    are not all there.
    """
    table = _source(runner, asof)
    if table is None:
        return False
    notes, text = table.notes, str(asof)
    if asof <= table.asof:
        return bool(notes["goes_on"] or notes["ends"] >= text)
    return bool(notes["until"] > text or (notes["until"] == text and ended(asof)))


def ended(asof: Asof) -> bool:
    """Whether the clock has passed the end of a period; its rows may still be on their way."""
    return asof.end <= datetime.now(UTC)


def quiet(asof: Asof, ends: Asof) -> bool:
    """Whether a period shorter than a day was empty, rather than its rows late: of a source whose last rows are of the last
    day, it ended half a period ago and nothing has come. A replay of the past, whose source ended long ago, has no such period.
    """
    now = datetime.now(UTC)
    return asof.grain < DAY and asof.end + asof.grain / 2 <= now < ends.end + DAY


def judge(runner: Runner, name: str, asof: Asof) -> list[Table]:
    """Make a room's partitions of earlier as-ofs that waited for their horizon and need not any longer, oldest first."""
    room, kinds = runner.room(name), runner.pipeline.inputs(name)
    if "truth" not in kinds.values():
        return []
    lists = [table for table, kind in kinds.items() if kind == "same"]
    begun = {each for table in lists for each in runner.store.partitions(runner.pipeline.makers[table])}
    made = []
    for earlier in sorted(each for each in begun if each < asof and not runner.store.current(name, each)):
        if tables := _as_published(runner, room, earlier):
            fingerprint = runner.fingerprint(name, earlier, tables)
            made.append(work.transform(runner, room, [(earlier, fingerprint, tables)])[earlier])
    return made


def _source(runner: Runner, asof: Asof) -> Table | None:
    """The source's partition of an as-of, else the nearest later one, else the last before it; None where there is none."""
    partitions = runner.store.partitions(runner.source_room)
    at = bisect_left(partitions, asof)
    for each in (*partitions[at:], *reversed(partitions[:at])):
        if table := runner.published(runner.source_room, each):
            return table
    return None


def _as_published(runner: Runner, room: Stage, asof: Asof) -> dict[str, Any] | None:
    """Every table that the room reads for an earlier as-of, as it was published then; None where one is not, or not yet."""
    from narrows.run import reads

    inputs: dict[str, Any] = {}
    for table, kind in parameters(room.transform).items():  # type: ignore[attr-defined]
        if kind == "truth":
            if not closed(runner, asof + runner.horizon):
                return None
            inputs[table] = reads.known(runner, table, asof + runner.horizon).truth(asof)
        elif kind in ("past", "recent"):
            inputs[table] = reads.past(runner, room, table, asof, recent=kind == "recent", stored=True)
        else:
            found = {}
            for each in runner.pipeline.narrowing if kind == "flow" else [table]:
                maker = runner.pipeline.makers[each]
                if not (current := runner.store.current(maker, asof)):
                    return None
                found[each] = current if each == maker else current.side(each)
            inputs[table] = Flow(found) if kind == "flow" else found[table]
    return inputs
