"""How much memory a run may take, and what follows from it. Light imports: settings are read at every start."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from narrows.config.sections import EngineSettings, SparkSettings

SHARE = 0.6
"""Of the machine's memory that a run may take unless ``[engine] memory`` says how much."""
GIB = 1 << 30
UNITS = {"m": 1 << 20, "g": GIB, "t": 1 << 40}
USUAL_HEAP = 800 << 20
SHARD_USERS = 2000
"""Users of a shard where memory allows."""
SHARD_BYTES = 300_000
"""Of a user that is narrowed: some 400 candidates with 70 features, twice."""
WORKER_BYTES = int(0.9 * GIB)
"""Of a process that narrows: libraries, models and the catalogue, without its shard."""
TASK_BYTES = 50_000_000
"""Of the files of events that a task of Spark has in memory, some two million events, where memory allows."""
TASK_PART = 100
"""A task takes 33 to 47 times the bytes of its files, so those of all cores a third to a half of the memory: the JVM, the audits and
this process have the rest."""
CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


REMEDY = (
    "Lower [engine] memory to what this machine has free (shards, processes and Spark's heap follow), or lower "
    "[pipeline] flow_users or example_rows; then run again: the run goes on from what is published"
)
SIGNS = ("OutOfMemoryError", "Java heap space", "GC overhead limit", "Answer from Java side is empty")
"""What the errors say that Spark raises when its memory ends, or when its process was killed for it."""


class OutOfMemory(RuntimeError):
    """A room needed more memory than there is; the message names it and the remedy."""


def ran_out(error: BaseException | None) -> bool:
    """Whether an error, or one that it comes from, says that memory ran out."""
    while error is not None:
        if isinstance(error, MemoryError) or any(sign in str(error) for sign in SIGNS):
            return True
        error = error.__cause__ or error.__context__
    return False


def size(text: str) -> int:
    """``12g`` or ``800m`` in bytes."""
    return int(text[:-1]) * UNITS[text[-1].lower()]


def machine() -> int:
    """Bytes of memory that this machine, or the container, has."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in CGROUP_LIMITS:
        try:
            limit = Path(path).read_text().strip()
        except OSError:
            continue
        if limit.isdigit():
            total = min(total, int(limit))
    return total


def budget(engine: EngineSettings) -> int:
    """Bytes that all processes of a run may take together."""
    return size(engine.memory) if engine.memory else int(SHARE * machine())


def heap(spark: SparkSettings, engine: EngineSettings) -> str:
    """The heap of Spark's driver: what is set, else a sixteenth of the memory, or 800 MiB (or a third) where that is more."""
    most = budget(engine)
    return spark.driver_memory or f"{max(most // 16, min(USUAL_HEAP, most // 3)) >> 20}m"


def task_bytes(engine: EngineSettings) -> int:
    """Bytes of the files of events that one task of Spark may have in memory, while each core has one."""
    return min(TASK_BYTES, budget(engine) // (TASK_PART * cores()))


def give_back() -> None:
    """Return to the system what this process has freed, which allocators keep for later otherwise: up to a gigabyte after a room."""
    import ctypes

    import pyarrow as pa

    pa.default_memory_pool().release_unused()
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):  # another C library than GNU's
        return


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def workers(engine: EngineSettings, shard: int) -> int:
    """How many processes may narrow at once: one a core, as far as two thirds of the memory have room for them."""
    room = budget(engine) * 2 // 3
    return max(1, min(cores(), room // (WORKER_BYTES + shard * SHARD_BYTES)))


def shard_users(engine: EngineSettings) -> int:
    """How many users are narrowed at once: ``SHARD_USERS``, or fewer where two of such shards would take a quarter of the memory."""
    fits = budget(engine) // 8 // SHARD_BYTES
    return max(100, min(SHARD_USERS, fits // 100 * 100))
