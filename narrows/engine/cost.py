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


@dataclass
class Cost:
    """One measured piece of work."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_mb: float = 0.0
    """Largest sum of resident sets over the process tree seen (sampled every 0.2 s), in MB of 10^6 bytes."""

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

    def cpu() -> dict[int, float]:
        spent = {}
        for process in tree():
            try:
                times = process.cpu_times()
            except psutil.Error:
                continue
            spent[process.pid] = times.user + times.system
        return spent

    latest = first = cpu()

    def sample() -> None:
        nonlocal latest
        while True:
            resident = 0
            for process in tree():
                try:
                    resident += process.memory_info().rss
                except psutil.Error:
                    continue
            cost.peak_mb = max(cost.peak_mb, resident / 1e6)
            latest = {**latest, **cpu()}  # a child that ends keeps what it had spent when last seen
            if done.wait(SAMPLE_SECONDS):
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
        latest = {**latest, **cpu()}
        cost.cpu_seconds = sum(latest.values()) - sum(first.values())
