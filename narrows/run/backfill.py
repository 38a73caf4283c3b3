"""Many partitions of the rooms before the first that learns, many as-ofs to a job."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from inspect import signature
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from narrows.asof import Asof
from narrows.run import reads
from narrows.stage import Table

if TYPE_CHECKING:
    from narrows.run.runner import Runner

LOG = logging.getLogger(__name__)
AT_ONCE = 14
"""As-ofs that one job makes: what is lost where it is stopped, and what stands between two lines of progress."""


@dataclass
class Progress:
    """What is done of a backfill."""

    wanted: int
    """As-ofs that were asked for."""
    there: int = 0
    """As-ofs of which everything had been published before."""
    made: int = 0
    seconds: float = 0.0
    begun: float = field(default_factory=time.perf_counter, repr=False)

    @property
    def a_minute(self) -> float:
        """As-ofs made in a minute."""
        return 60 * self.made / self.seconds if self.seconds else 0.0

    def add(self, count: int) -> None:
        """So many more are made."""
        self.made += count
        self.seconds = time.perf_counter() - self.begun


def asofs_between(first: Asof, last: Asof) -> list[Asof]:
    """Every as-of of the grain from one to another.

    Raises:
        ValueError: the last lies before the first.
    """
    if last < first:
        raise ValueError(f"--to {last} lies before --from {first}: exchange them.")
    return [first + number * first.grain for number in range((last - first) // first.grain + 1)]


def rooms(runner: Runner) -> list[str]:
    """The rooms that are filled: the one that reads the source, and those that make several as-ofs in one job of it."""
    names = [runner.source_room]
    for room in (each for each in runner.pipeline.rooms if each.name not in names):
        inputs = runner.pipeline.inputs(room.name)
        ranged = "asofs" in signature(getattr(room, "transform", lambda: None)).parameters
        if ranged and all(runner.pipeline.makers[table] in names for table in inputs):
            names.append(room.name)
    return names


def backfill(runner: Runner, asofs: Sequence[Asof], said: Callable[[Progress], Any] = lambda _: None) -> Progress:
    """Make what is missing of the partitions of some as-ofs, oldest first.

    A partition that the same recipe made stays as it is, whatever came later. What is published stays where this is stopped.

    Args:
        runner: of the pipeline.
        asofs: ascending.
        said: called whenever some more are made.

    Raises:
        SourceError: the source does not reach an as-of; see `reads.require_reached`.
    """
    source, *others = rooms(runner)
    todo = [asof for asof in asofs if not all(runner.published(name, asof) for name in (source, *others))]
    progress = Progress(len(asofs), len(asofs) - len(todo))
    for start in range(0, len(todo), AT_ONCE):
        chunk = todo[start : start + AT_ONCE]
        for number, asof in enumerate(chunk):
            if not runner.published(source, asof):
                rest = [asof, *takewhile(lambda later: not runner.published(source, later), chunk[number + 1 :])]
                runner.tables(source, rest)
            reads.require_reached(runner, asof)
        for name in others:
            for group in _alike(runner, [asof for asof in chunk if not runner.published(name, asof)]):
                runner.tables(name, group)
        progress.add(len(chunk))
        said(progress)
    return progress


def _alike(runner: Runner, asofs: list[Asof]) -> list[list[Asof]]:
    """The as-ofs in groups; of a group's the source's last partition has the rows of all, so that one job makes them of it."""
    groups: list[list[Asof]] = []
    for asof in reversed(asofs):
        own, last = (runner.published(runner.source_room, each) for each in (asof, groups[-1][0] if groups else asof))
        if groups and own and last and is_cut(own, last):
            groups[-1].append(asof)
        else:
            groups.append([asof])
    return [sorted(group) for group in reversed(groups)]


def is_cut(one: Table, later: Table) -> bool:
    """Whether a partition of periods has the files that a later one has of them."""
    bound = f"known={one.asof}"

    def files(table: Table) -> dict[str, Any]:
        found = {}
        for file, place in table.files():
            if place.parts[0] <= bound:
                stat = file.stat()
                found[place.as_posix()] = (stat.st_dev, stat.st_ino)
        return found

    return files(one) == files(later)
