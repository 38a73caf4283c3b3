"""Spark on other machines than the driver's: addresses, what executors get, and whether they see what they must."""

from __future__ import annotations

import hashlib
import logging
import os
import socket
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from threading import Timer
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from narrows.config.sections import SparkSettings
from narrows.temporary import Temporary

if TYPE_CHECKING:
    import pyarrow as pa

LOG = logging.getLogger(__name__)
ROOT = Path(__file__).parents[2]
"""Where the project's packages lie."""
PACKAGES = ("narrows", "features", "stages")
LOOPBACK = "127.0.0.1"
ANSWER_SECONDS = 5.0
"""Within which a master must take a connection."""
WAIT_SECONDS = 30.0
"""After which a run says that it waits for executors."""
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS")
"""What tells libraries how many threads to use: one, where processes share the cores."""


class ClusterError(RuntimeError):
    """The cluster cannot do the work; the message names the remedy."""


class ClusterAway(ClusterError, Temporary):
    """No master answers: a later try may find one."""


def is_local(master: str) -> bool:
    """Whether the driver's process is the executor as well."""
    return master == "local" or master.startswith("local[")


def addresses(settings: SparkSettings) -> dict[str, str]:
    """Where the driver is found: on this machine alone, or where executors elsewhere can reach it.

    Without a setting Spark takes the machine's own name for a cluster.
    """
    host = settings.driver_host or (LOOPBACK if is_local(settings.master) else "")
    bind = settings.driver_bind_address or (LOOPBACK if is_local(settings.master) else "")
    given = {"spark.driver.host": host, "spark.driver.bindAddress": bind}
    return {name: value for name, value in given.items() if value}


def of_executors(settings: SparkSettings, java_options: str) -> dict[str, str]:
    """Memory, cores, code and threads of the executors; of a local master only the last two count."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    chosen = {
        "spark.executorEnv.PYTHONPATH": path,
        **{f"spark.executorEnv.{name}": "1" for name in THREADS},  # Spark runs a task a core
    }
    if is_local(settings.master):
        return chosen
    chosen |= {"spark.executor.memory": settings.executor_memory, "spark.executor.extraJavaOptions": java_options}
    return chosen | ({"spark.executor.cores": str(settings.executor_cores)} if settings.executor_cores else {})


def require_master(master: str) -> None:
    """Nothing if the master of a standalone cluster, or one of several, takes a connection; Spark would try for a minute.

    Raises:
        ClusterError: none does.
    """
    scheme, _, places = master.partition("://")
    if scheme != "spark":
        return
    for place in places.split(","):
        host, _, port = place.rpartition(":")
        try:
            socket.create_connection((host, int(port)), ANSWER_SECONDS).close()
            return
        except (OSError, ValueError):
            continue
    raise ClusterAway(f'[spark] master = "{master}": nothing answers there. Start the master, or correct the address.')


def require_shared(session: Any, state: Path) -> None:
    """Nothing if the executors write to the driver's state folder and run the driver's code.

    Asks some tasks on each executor. A run waits for executors as long as it takes, and says so.

    Raises:
        ClusterError: an executor does not, or cannot run Python; says which and what to do.
    """
    from pyspark.errors import PySparkException

    state.mkdir(parents=True, exist_ok=True)
    mark = state / f".seen-{uuid4().hex}"
    mark.touch()
    tasks = 2 * session.sparkContext.defaultParallelism
    waits = Timer(WAIT_SECONDS, LOG.warning, ("[spark] no executor has answered yet: has the cluster free cores?",))
    waits.daemon = True
    waits.start()
    try:
        found = session.range(0, tasks, 1, tasks).mapInArrow(_asked(str(mark)), ANSWER).distinct().collect()
    except PySparkException as error:
        raise ClusterError(
            f"[spark] executors cannot run this project's Python: {_reason(error)} Install the same environment at "
            f"{sys.prefix} and the project at {ROOT} on every worker, on a shared path for example, or give the workers' "
            "interpreter in PYSPARK_PYTHON."
        ) from error
    finally:
        waits.cancel()
        mark.unlink()
    for host, seen, code in found:
        if not seen:
            raise ClusterError(
                f"[spark] the executor on {host} does not see the state folder {state}, or may not write there: executors "
                "write tables themselves. Put it on a file system that all workers mount at the same path "
                "([store] root); tables at an address (s3://) need it too, for drafts and copies."
            )
        if code != code_digest():
            raise ClusterError(
                f"[spark] the executor on {host} has other code at {ROOT} than the driver. Install the same version there, "
                "or run from a path that is shared."
            )


ANSWER = "host string, seen boolean, code string"


def _asked(mark: str) -> Any:
    def answer(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        for _ in batches:
            seen = os.path.exists(mark) and os.access(os.path.dirname(mark), os.W_OK)
            one = {"host": socket.gethostname(), "seen": seen, "code": code_digest()}
            yield pa.RecordBatch.from_pylist([one])

    return answer


@cache
def code_digest() -> str:
    """A hash of the project's sources."""
    digest = hashlib.sha256()
    for file in sorted(file for name in PACKAGES for file in (ROOT / name).rglob("*.py")):
        digest.update(str(file.relative_to(ROOT)).encode() + file.read_bytes())
    return digest.hexdigest()


def _reason(error: Exception) -> str:
    """The line of an executor's error that says what happened."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if "Error" in line or "Cannot run program" in line]
    return (telling or lines or [""])[-1].rstrip(".") + "."
