"""What a stage spent: wall seconds, CPU seconds and peak memory of this process and its children."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil

SAMPLE_SECONDS = 0.2
SAMPLING_SHARE = 0.02
"""Of a processor that the sampling may take: looking through the processes of a busy machine takes long."""


@dataclass
class Cost:
    """One measured piece of work."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_mb: float = 0.0
    """Largest sum of resident sets over the process tree seen (sampled every 0.2 s, or more rarely where that would take over 2% of a processor), in MB of 10^6 bytes."""

    def as_dict(self) -> dict[str, float]:
        return {key: round(value, 3) for key, value in vars(self).items()}


@contextmanager
def meter() -> Iterator[Cost]:
    """Measure the block; the JVM that Spark starts is a child and counts, the audits' process (`narrows.audit.worker`) does not."""
    cost, done = Cost(), threading.Event()
    root = psutil.Process()
    apart = {process.pid for process in multiprocessing.active_children()}

    def tree() -> list[psutil.Process]:
        return [root, *(child for child in root.children(recursive=True) if child.pid not in apart)]

    def look() -> tuple[dict[int, float], int]:
        """The CPU seconds of every process, and the memory of all."""
        spent, resident = {}, 0
        for process in tree():
            try:
                with process.oneshot():
                    times, memory = process.cpu_times(), process.memory_info()
            except psutil.Error:
                continue
            spent[process.pid] = times.user + times.system
            resident += memory.rss
        return spent, resident

    first, _ = look()
    latest = dict(first)

    def sample() -> None:
        while True:
            began = time.thread_time()
            spent, resident = look()
            latest.update(spent)  # a child that ends keeps what it had spent when last seen
            cost.peak_mb = max(cost.peak_mb, resident / 1e6)
            if done.wait(max(SAMPLE_SECONDS, (time.thread_time() - began) / SAMPLING_SHARE)):
                return

    watcher = threading.Thread(target=sample, daemon=True)
    watcher.start()
    started = time.perf_counter()
    try:
        yield cost
    finally:
        cost.seconds = time.perf_counter() - started
        done.set()
        watcher.join()
        latest.update(look()[0])
        cost.cpu_seconds = sum(latest.values()) - sum(first.values())
