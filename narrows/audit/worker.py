"""Audits of drafts beside the room's work: in a process of their own, which imports Great Expectations meanwhile."""

from __future__ import annotations

import atexit
import gc
import multiprocessing
import signal
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from narrows.asof import Asof
from narrows.audit.contract import Audit, Contract, audit
from narrows.audit.observations.subject import Around
from narrows.engine.garbage import rarely_collected
from narrows.engine.memory import give_back

Seen = dict[str, dict[Asof, dict[str, Any]]]
"""The observations that were made in this process, by table: of partitions that are not published yet."""


def audit_draft(
    name: str, terms: Contract, folder: Path, docs: Path, version: str, asof: str, settings: dict[str, Any],
    files: Collection[str] = (), around: Around | None = None, *, seen: Seen,
) -> Audit:  # fmt: skip
    """Check the rows in a folder of a draft, or in some of its ``files``, against a contract; see ``contract.audit``.

    The draft is observed as a whole.
    """
    import pyarrow.dataset as ds

    def read(rows: Any) -> ds.Dataset:
        return ds.dataset(
            rows, format="parquet", partitioning="hive", partition_base_dir=str(folder) if files else None
        )

    data, fresh = ds.dataset(folder, format="parquet", partitioning="hive"), read(list(files)) if files else None
    if not around:
        return audit(name, data, docs, version, asof, terms, settings, fresh=fresh)
    ours = seen.setdefault(name, {})
    around = replace(around, earlier={**around.earlier, **ours})
    found = audit(name, data, docs, version, asof, terms, settings, around, fresh)
    ours[around.asof] = found.observations
    return found


@dataclass
class Audits:
    """Audits that were asked for; their results come in the order of asking, each made when it is wanted."""

    waiting: deque[partial[Audit]] = field(default_factory=deque)
    seen: Seen = field(default_factory=dict)

    def ask(self, *about: Any) -> None:
        """Ask for the audit of a draft: the arguments of `audit_draft`."""
        self.waiting.append(partial(audit_draft, *about, seen=self.seen))

    def answer(self) -> Audit:
        """The result of the audit that was asked for first."""
        return self.waiting.popleft()()


class BackgroundAudits(Audits):
    """The same in another process, which works while this one goes on. It ends when this one does, however it ends."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would inherit the threads' locks
        self.pipe, there = context.Pipe()
        self.process = context.Process(target=_serve, args=(there,), daemon=True, name="audits")
        self.process.start()
        there.close()  # now the pipe ends with the process that holds its other end
        atexit.register(self.close)

    def close(self) -> None:
        """Let the other process end by itself."""
        atexit.unregister(self.close)
        self.pipe.close()
        self.process.join(5)

    def ask(self, *about: Any) -> None:
        self.pipe.send(about)

    def answer(self) -> Audit:
        try:
            answer = self.pipe.recv()
        except EOFError:
            raise RuntimeError(
                f"the process that audits ended with {self.process.exitcode}; nothing more was published. If memory "
                "ran out, give the machine more; then run again."
            ) from None
        if isinstance(answer, Exception):
            raise answer
        return answer


def _serve(pipe: Connection) -> None:
    from narrows.audit.suite import prepare

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks: this one ends with it
    seen: Seen = {}
    with rarely_collected():
        prepare()
        gc.freeze()  # what was imported is not looked through again
        while True:
            try:
                about = pipe.recv()
            except (EOFError, OSError):  # the process that asks has ended, and said why
                return
            try:
                answer: Audit | Exception = audit_draft(*about, seen=seen)
            except Exception as error:  # raised where the answer is wanted
                answer = error
            try:
                pipe.send(answer)
            except OSError:
                return
            gc.collect()  # Great Expectations' objects hold the rows in cycles
            give_back()
