"""Which versions of a store the kept runs and the next ones need; all others can be made again."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from narrows.asof import Asof, start_of
from narrows.settings import Settings
from narrows.store.garbage import Version

MODEL = "model"
"""The parameter by which a room reads its model."""


@dataclass(frozen=True)
class Kept:
    """A run, or a release, that must stay as it is: readable, comparable, and found in the store when it is run again."""

    asof: Asof
    horizon: timedelta
    windows: int
    """How many horizons before the as-of it learned from."""
    versions: tuple[str, ...]
    """What it made or found."""

    @property
    def oldest(self) -> datetime:
        """The start of the oldest partition that it learned from."""
        return start_of(str(self.asof - self.windows * self.horizon))


def windows(settings: Settings, count: int = 0) -> int:
    """How many horizons back a run reads: the windows (``count``, or those of the settings), or what a room asks for."""
    fixed = [past for room in settings.rooms.values() for past in room.past.values() if isinstance(past, int)]
    return max(count or settings.pipeline_settings.windows, *fixed, 1)


def needed(settings: Settings, versions: Collection[Version], kept: Iterable[Kept], newest: Asof | None) -> set[str]:
    """The names of the versions that must stay.

    - What kept runs and releases made, and what was read to make it, as far back as their windows reach.
    - The current version of every partition from the oldest window of the ``newest`` lists on: the next runs read them,
      and the latest events serve all earlier as-ofs.
    - The latest model of every room: it may narrow until it is fitted again.
    - Partitions of another grain than the settings': they are not judged.

    Args:
        settings: of the next runs.
        versions: all there are.
        kept: the runs and releases to keep.
        newest: the as-of of the newest lists; None = every current version stays.
    """
    index = {version.name: version for version in versions}
    current = [version for version in versions if version.is_current]
    names = {version.name for version in versions if not _is_of(version.asof, settings.source.grain_length)}
    roots = list(kept)
    if newest:
        own = tuple(version.name for version in current if version.asof == str(newest))
        last = Kept(newest, settings.source.horizon_length, windows(settings), own)
        roots.append(last)
        names |= {version.name for version in current if version.start >= last.oldest}
    else:
        names |= {version.name for version in current}
    latest: dict[str, Version] = {}
    for version in sorted(current, key=lambda version: version.start):
        if version.table.endswith(f".{MODEL}") and not version.past:
            latest[version.table] = version
    names |= {version.name for version in latest.values()}
    for root in roots:
        names |= _reached(index, root)
    return names


def _reached(index: dict[str, Version], kept: Kept) -> set[str]:
    """What a kept run made and what was read to make it, within its windows; a model that it used may be older."""
    found: set[str] = set()
    todo = [name for name in kept.versions if name in index]
    while todo:
        name = todo.pop()
        if name in found:
            continue
        found.add(name)
        if index[name].start < kept.oldest:
            continue  # a model: what it learned from is not read again
        for parameter, read in index[name].inputs.items():
            for each in read.values() if isinstance(read, dict) else [read]:
                if each in index and (parameter == MODEL or index[each].start >= kept.oldest):
                    todo.append(each)
    return found


def _is_of(text: str, grain: timedelta) -> bool:
    """Whether the text is an as-of of this grain."""
    try:
        return str(Asof.parse(text, grain)) == text
    except ValueError:
        return False
