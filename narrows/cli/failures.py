"""What ends a command in one line, and with which exit status."""

from __future__ import annotations

import errno

from narrows.audit.contract import BrokenContract, ContractError
from narrows.cli.airflow.workflow import WorkflowError
from narrows.codesign.errors import CodesignError
from narrows.engine.cluster import ClusterError
from narrows.engine.java import JavaError
from narrows.engine.memory import OutOfMemory
from narrows.reasons import ReasonsError
from narrows.settings import SettingsError
from narrows.source.files import SourceError
from narrows.source.urls import redacted
from narrows.store.partitions import StoreError
from narrows.temporary import mends_itself
from narrows.tracking.runs import TrackingError
from narrows.world.settings import WorldError

__all__ = ["REMEDIES", "away", "disk_is_full", "mends_itself"]

REMEDIES = (
    SettingsError, SourceError, StoreError, ContractError, BrokenContract, JavaError, ReasonsError,
    TrackingError, WorkflowError, WorldError, OutOfMemory, ClusterError, CodesignError,
)  # fmt: skip
"""Errors whose message is all there is to say."""
FULL = ("No space left on device", "Disk quota exceeded", "database or disk is full")
"""What the system and SQLite say of a full disk; Spark, Arrow, SQLAlchemy and MLflow hand the words on."""


def away(error: BaseException) -> str:
    """One line about a database or server that does not answer."""
    said = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"a database or server is away: {type(error).__name__}: {redacted(said)}. What is published stands. Run again later"


def disk_is_full(error: BaseException | None) -> bool:
    """Whether the error, or one that it came from, is of a full disk."""
    if error is None:
        return False
    by_number = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    by_words = any(words in str(error) for words in FULL)
    return by_number or by_words or disk_is_full(error.__cause__ or error.__context__)
