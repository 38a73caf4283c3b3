"""A release is written by a process of its own while the room after it works."""

from __future__ import annotations

import logging
import multiprocessing
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from narrows.run.fused import get_ready
from narrows.stage import Table

if TYPE_CHECKING:
    from narrows.audit.contract import Audit
    from narrows.run.publish import Draft

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Swapping:
    """An audited draft whose rows go to where else the table lives; it is published when they are there."""

    draft: Draft
    table: Table
    """What the room after it reads meanwhile: the draft's rows."""
    audit: Audit
    _pool: ProcessPoolExecutor
    _notes: Future[dict[str, Any]]

    @classmethod
    def begin(cls, draft: Draft, table: Table, audit: Audit, base: Path) -> Swapping:
        """Start the process; a user's modules lie in ``base``."""
        ready = partial(_begin, base, LOG.getEffectiveLevel())
        pool = ProcessPoolExecutor(
            1, multiprocessing.get_context("spawn"), ready
        )  # a fork would inherit the threads' locks
        assert draft.swap
        return cls(draft, table, audit, pool, pool.submit(draft.swap, table))

    def notes(self) -> dict[str, Any]:
        """What the swap has to say, when it is done.

        Raises:
            Exception: what it raised; where the table lives nothing changed.
        """
        try:
            return self._notes.result()
        except BrokenProcessPool:
            raise MemoryError("the process that writes the release was killed") from None
        finally:
            self._pool.shutdown()


def _begin(base: Path, level: int) -> None:
    get_ready(base)
    logging.basicConfig(format="%(message)s", level=level)
