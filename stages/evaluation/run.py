"""What one run is judged on, and the one table that all its numbers go to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from narrows.bootstrap import Resampling, intervals
from narrows.columns import REQUEST_WEIGHT, USER
from stages.evaluation.judge import Judge

SCHEMA = pa.schema(
    [
        pa.field("population", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("list", pa.string(), nullable=False),
        pa.field("metric", pa.string(), nullable=False),
        pa.field("k", pa.int32(), nullable=False),
        pa.field("detail", pa.string(), nullable=False),
        pa.field("value", pa.float64()),
        pa.field("low", pa.float64()),
        pa.field("high", pa.float64()),
        pa.field("users", pa.int64(), nullable=False),
    ]
)


@dataclass(frozen=True)
class Run:
    """The tables of one run, and how intervals are drawn."""

    truth: pa.Table
    """user_id, item_id of the horizon."""
    users: pa.Table
    """user_profiles."""
    items: pa.Table
    """item_profiles."""
    rooms: Mapping[str, pa.Table]
    """Per narrowing room, in order, its kept and removed rows."""
    published: pa.Table
    """user_id, item_id, rank of the published lists."""
    fallback: pa.Table | None = None
    """The same of the judged users who have no list: the published fallback, of their segment where it has one. The headline
    comes from these rows, those of ``published``, and nothing else."""
    step: str = "1x"
    """Of the ladder: the popularity whose list of a horizon before was worth most."""
    cutoffs: tuple[int, ...] = (5, 10, 20)
    resamples: int = 1000
    confidence: float = 0.95
    seed: int = 0
    known_users: int = 0
    """How many users have a profile; 0 = those of ``users``."""
    sample: pa.Table | None = None
    """Of the run of a flow sample: its users (user_id) and how many each stands for (request_weight)."""
    parts: Callable[[], Iterator[Run]] | None = None
    """Of the run of a flow sample: reads the users who have a positive, some at a time; these runs have no rooms."""
    served: tuple[pa.Array, int] | None = None
    """The distinct items of all published lists, and how many lists there are; None = those of ``published``."""

    def judged(self) -> Iterator[Run]:
        """All users who have a positive: this run or, of a flow sample, one run after the other."""
        yield from self.parts() if self.parts else (self,)

    def weight(self, users: pa.Array | pa.ChunkedArray) -> np.ndarray:
        """How many users each of these stands for: f64 (users,); 1 for one outside the sample."""
        if self.sample is None:
            return np.ones(len(users))
        at = pc.index_in(users, value_set=self.sample[USER].combine_chunks().cast(users.type))
        given = self.sample[REQUEST_WEIGHT].combine_chunks().take(at.combine_chunks() if hasattr(at, "chunks") else at)
        return pc.fill_null(given, 1.0).to_numpy(zero_copy_only=False).astype(float)

    def judged_weight(self, population: str) -> np.ndarray:
        """The `weight` of each judged user of a population: f64 (judged users,)."""
        return self.weight(self.judge.users.filter(pa.array(self.judge.populations[population].row >= 0)))

    @property
    def shown(self) -> pa.Table:
        """user_id, item_id, rank of what a service reads for each user: the own list, else the fallback."""
        return self.published if self.fallback is None else pa.concat_tables([self.published, self.fallback])

    @cached_property
    def judge(self) -> Judge:
        return Judge(self.truth, self.users, self.items)

    @property
    def depth(self) -> int:
        """The length of the lists that are compared."""
        return max(self.cutoffs)

    def intervals(
        self, top: Sequence[np.ndarray], bottom: Sequence[np.ndarray] | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """``bootstrap.intervals`` of columns given one by one."""
        bottoms = None if bottom is None else np.column_stack(bottom)
        return intervals(
            np.column_stack(top), bottoms, resamples=self.resamples, confidence=self.confidence, seed=self.seed
        )

    def resampling(self) -> Resampling:
        """The same for users who come part by part."""
        return Resampling(self.resamples, self.confidence, self.seed)


@dataclass
class MetricRows:
    """Collects rows; grain (population, kind, list, metric, k, detail)."""

    rows: list[tuple[Any, ...]] = field(default_factory=list)

    def add(
        self,
        population: str,
        name: tuple[str, str],
        metric: str,
        value: float | None,
        users: int,
        k: int = 0,
        detail: str = "",
        low: float | None = None,
        high: float | None = None,
    ) -> None:
        """One number. ``name`` is the list's (kind, name); ``k`` 0 means the metric has no cut-off."""
        self.rows.append((population, *name, metric, k, detail, value, low, high, users))

    def table(self) -> pa.Table:
        """All rows; an undefined number (nan) is null."""
        columns = list(zip(*self.rows, strict=True)) or [()] * len(SCHEMA)
        arrays = [pa.array(cells, row.type, from_pandas=True) for cells, row in zip(columns, SCHEMA, strict=True)]
        return pa.Table.from_arrays(arrays, schema=SCHEMA)
