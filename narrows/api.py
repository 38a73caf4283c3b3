"""Narrows from Python: what the commands do, for notebooks and scripts.

from narrows import api

shop = api.open("narrows.toml")
run = shop.run()                                  # as of the latest day that can be judged
run.stages()                                      # the funnel: rows, survival, quality and cost of each stage
run.table("rank").arrow(["user_id", "item_id", "rank_score"])
other = shop.with_settings({"rank.n": 40}).run(run.asof)
api.compare(run, other)["quality"]
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from narrows.asof import Asof
from narrows.settings import Settings, load_settings
from narrows.store.partitions import StoreError

if TYPE_CHECKING:
    import pyarrow as pa

    from narrows.cli.compare.judged import Side
    from narrows.stage import Table

__all__ = ["Project", "Run", "compare", "open"]


@dataclass(frozen=True)
class Project:
    """A settings file, with what was changed of it."""

    settings: Settings
    _file: Path | None = field(repr=False, default=None)
    _changed: Mapping[str, Any] = field(repr=False, default_factory=dict)

    def with_settings(self, changed: Mapping[str, Any]) -> Project:
        """The same project with other settings, by dotted name: ``{"rank.n": 40}``.

        Raises:
            SettingsError: an unknown setting, or a value that is not allowed.
        """
        changed = {**self._changed, **changed}
        variables = {f"NARROWS_{name.upper().replace('.', '__')}": _toml(value) for name, value in changed.items()}
        return Project(load_settings(self._file, {**os.environ, **variables}), self._file, changed)

    def run(self, asof: Asof | str | None = None, force: bool = False) -> Run:
        """Run the whole line, without Airflow; what exists already is taken from the store.

        Args:
            asof: the partition; None = the latest that can be judged, else the latest that the source reaches.
            force: also where the source does not reach the as-of; such lists do not go live.

        Raises:
            StoreError, SourceError, BrokenContract, ...: see ``narrows.cli.failures.REMEDIES``.
        """
        from narrows.cli.check.reach import default_asof
        from narrows.cli.running import run_line

        asof = default_asof(self.settings) if asof is None else self.settings.asof(str(asof))
        run_line(self.settings, asof, force)
        from narrows.cli.report.record import of_tables

        record = of_tables(self.settings, asof)
        assert record is not None  # the run has just written it
        return Run(self.settings.state, record)

    def runs(self) -> list[Run]:
        """Every recorded run of the state folder, oldest first."""
        from narrows.cli.report import record

        return [Run(self.settings.state, each) for each in record.read_all(self.settings.state)]

    def __getitem__(self, which: int | str) -> Run:
        """A recorded run: by its number, its run id, or an as-of (the newest run of it).

        Raises:
            StoreError: there is none.
        """
        from narrows.cli.report import record

        state = self.settings.state
        return Run(state, record.read(state, str(which)))


@dataclass(frozen=True)
class Run:
    """A recorded run: what it made, by version, whatever ran after it."""

    state: Path
    record: dict[str, Any] = field(repr=False)
    """See `narrows.cli.report.record.write`."""

    @property
    def _side(self) -> Side:
        from narrows.cli.compare.judged import Side

        return Side(self.state, self.record)

    @property
    def number(self) -> int:
        """By which the command line knows it."""
        return int(self.record["number"])

    @property
    def name(self) -> str:
        """Its as-of and its design."""
        return str(self.record["name"])

    @property
    def asof(self) -> Asof:
        return self._side.asof

    @property
    def facts(self) -> dict[str, Any]:
        """All that the report says."""
        return dict(self.record["facts"])

    def report(self) -> str:
        """The report, as ``narrows report`` prints it."""
        from narrows.cli.report.screen import text

        return text(self.record["facts"])

    def stages(self) -> pa.Table:
        """One row per stage: rows in and out, survival of the positives, recall, NDCG, seconds, memory."""
        import pyarrow as pa

        return pa.Table.from_pylist(self.record["facts"]["stages"])

    def lists(self) -> pa.Table:
        """One row per list that was judged: the published one, the channels', the baselines'; numbers with intervals."""
        import pyarrow as pa

        return pa.Table.from_pylist(self.record["facts"]["lists"])

    def table(self, room: str) -> Table:
        """The table that a room made in this run.

        Raises:
            StoreError: there is none.
        """
        if room not in self.record["tables"]:
            known = ", ".join(self.record["tables"])
            raise StoreError(f"run {self.number} has no table {room!r}. It has: {known}")
        return self._side.table(room)


def open(file: str | Path | None = None) -> Project:
    """The project of a settings file: by default ``NARROWS_FILE`` or ``narrows.toml`` here, else all defaults.

    Raises:
        SettingsError: a wrong setting; the message names the file, the key and the remedy.
    """
    path = Path(file) if file else None
    return Project(load_settings(path), path)


def compare(*runs: Run) -> dict[str, Any]:
    """Runs side by side, each against the first, as ``narrows compare --json`` prints them.

    Raises:
        StoreError: fewer than two runs, or a version is gone.
    """
    from narrows.cli.compare.runs import comparison

    if len(runs) < 2:
        raise StoreError("give two runs or more")
    return comparison([run._side for run in runs])


def _toml(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
