"""The fused pass on Spark's executors: each task narrows a shard and writes its part; only counts come back."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from narrows.run import fused
from narrows.run.narrowing import Span, spans
from narrows.settings import import_plugins
from narrows.stage import Table
from narrows.store.write import drop_unfinished

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import SparkSession

KILLED = ("Python worker exited unexpectedly", "ExecutorLostFailure")
"""What Spark says of a process that the system ended, which it does when memory runs out."""


@dataclass(frozen=True)
class Task:
    """What every task of the pass is given; what may hold a user's own classes is bytes until their modules can be found."""

    pass_: bytes
    """The pickled ``(Pass, users' table, filter of its rows)``."""
    spans: list[Span]
    """The rows of the users' table from which each shard is cut."""
    first: int
    """The number of the first part."""
    folder: str
    """The folder of the settings: a user's own modules are searched for there."""

    @cached_property
    def key(self) -> str:
        return hashlib.sha256(self.pass_).hexdigest()

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Narrow the shards whose numbers come (column ``id``), and give the counts of each."""
        import pyarrow as pa

        for batch in batches:
            for number in batch.column("id").to_pylist():
                yield pa.RecordBatch.from_pylist([self.narrow(number)])

    def narrow(self, number: int) -> fused.Counts:
        """Narrow one shard; a repeated call writes the same file again."""
        (work, users, who), opened = _opened(self)
        rows = users.rows_between(*self.spans[number], where=who)
        return fused.narrow(work, opened, self.first + number, rows)


_OPENED: dict[str, tuple[Any, fused.Opened]] = {}
"""In a Python process of an executor: the pass that it works on, opened once."""


def _opened(task: Task) -> tuple[Any, fused.Opened]:
    if task.key not in _OPENED:
        _OPENED.clear()  # of an earlier pass the models would stay in memory
        fused.get_ready(Path(task.folder))
        given = pickle.loads(task.pass_)
        import_plugins(given[0].settings)
        _OPENED[task.key] = given, fused.open_pass(given[0])
    return _OPENED[task.key]


def task_of(work: fused.Pass, users: Table, who: Any, size: int, first: int) -> Task:
    """The task that narrows the shards of ``size`` users of which the filter ``who`` holds, parts from ``first`` on."""
    base = work.settings.base.absolute()
    shipped = pickle.dumps((replace(work, folder=work.folder.absolute()), users, who))
    return Task(shipped, spans(users, size, who), first, str(base))


def run(session: SparkSession, work: fused.Pass, users: Table, who: Any, size: int, first: int) -> fused.Counts:
    """Narrow shards of ``size`` users of whom the filter ``who`` holds, a task for each; rows and parts are those of ``fused.run``.

    Raises:
        MemoryError: a process was killed.
    """
    from pyspark.errors import PySparkException

    task = task_of(work, users, who, size, first)
    shards, total = len(task.spans), fused.zero(work)
    columns = ", ".join(f"`{name}` {'double' if name.startswith('cpu.') else 'bigint'}" for name in total)
    try:
        counted = session.range(0, shards, 1, shards).mapInArrow(task, columns).collect()  # a row for each shard
    except PySparkException as error:
        if any(words in str(error) for words in KILLED):
            raise MemoryError("a process that narrows was killed") from error
        raise
    drop_unfinished(work.folder)
    return {name: sum(row[name] for row in counted) for name in total}
