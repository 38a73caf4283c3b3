"""A standalone Spark cluster of this machine, from the installed pyspark: for measurements and tests."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

HOST = "127.0.0.1"
START_SECONDS = 60.0
PACKAGE = "org.apache.spark.deploy"


@contextmanager
def cluster(folder: Path, workers: int = 2, memory: str = "2g", hidden: Path | None = None) -> Iterator[str]:
    """The master's address of a cluster of workers of one core each; logs and work folders lie in ``folder``. It ends with the block.

    To the workers a ``hidden`` folder is empty, as on another machine (Linux, as root).

    Raises:
        TimeoutError: master and workers did not find each other within a minute.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with socket.socket() as free:
        free.bind((HOST, 0))
        port = free.getsockname()[1]
    address = f"spark://{HOST}:{port}"
    processes = [
        _start(folder / "master.log", "master.Master", "--host", HOST, "--port", str(port), "--webui-port", "0")
    ]
    try:
        _wait_for(folder / "master.log", "I have been elected leader", 1)
        for number in range(workers):
            place = ("--work-dir", str(folder / f"worker{number}"), "--webui-port", "0", "--host", HOST)
            given = ("--cores", "1", "--memory", memory, *place, address)
            processes.append(_start(folder / f"worker{number}.log", "worker.Worker", *given, hidden=hidden))
        _wait_for(folder / "master.log", "Registering worker", workers)
        yield address
    finally:
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            process.wait()


def _start(log: Path, what: str, *arguments: str, hidden: Path | None = None) -> subprocess.Popen[bytes]:
    spec = find_spec("pyspark")
    assert spec
    assert spec.origin
    program = str(Path(spec.origin).parent / "bin" / "spark-class")
    env = {**os.environ, "SPARK_NO_DAEMONIZE": "1"}
    command = [program, f"{PACKAGE}.{what}", *arguments]
    if hidden:
        script = 'mount -t tmpfs none "$0" && exec "$@"'
        command = ["unshare", "-m", "sh", "-c", script, str(hidden), *command]
    with log.open("wb") as file:
        return subprocess.Popen(command, stdout=file, stderr=file, env=env)


def _wait_for(log: Path, words: str, times: int) -> None:
    until = time.monotonic() + START_SECONDS
    while log.read_text(errors="replace").count(words) < times:
        if time.monotonic() > until:
            raise TimeoutError(f"no {words!r} in {log} after {START_SECONDS:.0f} s")
        time.sleep(0.2)
