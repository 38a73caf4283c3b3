"""Numbers over users who come part by part: their columns are added up, so that no part stays in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from narrows.bootstrap import Resampling
from narrows.columns import ITEM
from stages.evaluation.ledger import codes
from stages.evaluation.metrics import coverage
from stages.evaluation.run import MetricRows, Run

Name = tuple[str, str]
"""A list's kind (published, stage, policy, channel, baseline) and its name."""


@dataclass(frozen=True)
class Column:
    """A ratio of sums over users, such as the mean of a metric."""

    name: Name
    metric: str
    k: int
    top: np.ndarray
    """f64 (users of the part,): each user's part of the numerator."""
    bottom: np.ndarray
    """f64 (users of the part,): of the denominator."""
    detail: str = ""


@dataclass
class Totals:
    """Adds up and, at the end, writes rows with intervals."""

    out: MetricRows
    depth: int = 0
    catalogue: pa.Array = field(default_factory=lambda: pa.array([], pa.string()))
    """item_id of the catalogue."""
    served: dict[Name, tuple[pa.Array, int]] = field(default_factory=dict)
    """By list the distinct items of all its lists, and how many there are."""
    _columns: dict[tuple[str, str], tuple[list[tuple[Name, str, int, str]], Resampling]] = field(default_factory=dict)
    _users: dict[str, int] = field(default_factory=dict)
    _counts: dict[tuple[str, Name, str], int] = field(default_factory=dict)

    def add(self, run: Run, population: str, columns: Sequence[Column], of: str = "") -> None:
        """The columns of a part's users; every part has the same ones."""
        self.depth, self.catalogue = run.depth, run.items[ITEM].combine_chunks()
        if not columns:
            return
        if not of:
            self._users[population] = self._users.get(population, 0) + len(columns[0].top)
        names = [(each.name, each.metric, each.k, each.detail) for each in columns]
        _, drawing = self._columns.setdefault((population, of), (names, run.resampling()))
        drawing.add(*(np.column_stack([getattr(each, side) for each in columns]) for side in ("top", "bottom")))

    def count(self, population: str, name: Name, metric: str, number: int) -> None:
        """Add to a number without an interval."""
        key = population, name, metric
        self._counts[key] = self._counts.get(key, 0) + number

    def users(self, population: str) -> int:
        """How many users the population has so far."""
        return self._users.get(population, 0)

    def leave_out(self, *populations: str) -> None:
        """Write nothing of these."""
        self._columns = {key: each for key, each in self._columns.items() if key[0] not in populations}
        self._counts = {key: number for key, number in self._counts.items() if key[0] not in populations}

    def write(self) -> None:
        """All numbers, with intervals over users, and the share of the catalogue that each kind of list shows."""
        for (population, _), (names, drawing) in self._columns.items():
            found = drawing.intervals()
            for (name, metric, k, detail), value, low, high in zip(names, *found, strict=True):
                cells = {"k": k, "detail": detail, "low": low, "high": high}
                self.out.add(population, name, metric, value, self.users(population), **cells)
        for (population, name, metric), number in self._counts.items():
            self.out.add(population, name, metric, number, self.users(population))
        for name, (items, users) in self.served.items():
            share = coverage(codes(items, self.catalogue), len(self.catalogue))
            self.out.add("served", name, "coverage", share, users, self.depth)
