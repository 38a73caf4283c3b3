"""What the machine can do, so that every speed can be read as a share of it."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Times:
    """Seconds of repeated runs."""

    runs: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.runs)

    def per(self, count: float, unit: float = 1.0) -> str:
        """Median (least to most) of ``unit`` seconds a piece."""
        low, mid, high = (value / count * unit for value in (min(self.runs), self.median, max(self.runs)))
        return f"{mid:.2f} ({low:.2f} to {high:.2f})"

    def rate(self, count: float) -> str:
        """Pieces a second: median (least to most)."""
        return f"{count / self.median:,.0f} ({count / max(self.runs):,.0f} to {count / min(self.runs):,.0f})"


def alternate(one: Callable[[], object], other: Callable[[], object], runs: int) -> tuple[Times, Times]:
    """Time two pieces of work in turn, A B A B, after a warm-up of each: drift of the machine hits both."""
    one(), other()
    spent: tuple[list[float], list[float]] = ([], [])
    for _ in range(runs):
        for work, times in zip((one, other), spent, strict=True):
            started = time.perf_counter()
            work()
            times.append(time.perf_counter() - started)
    return Times(tuple(spent[0])), Times(tuple(spent[1]))


def repeated(work: Callable[[], object], runs: int) -> Times:
    """Time one piece of work after a warm-up."""
    return alternate(work, lambda: None, runs)[0]


def processor() -> str:
    """The processor's name and cores."""
    import os

    info = Path("/proc/cpuinfo")
    names = (
        [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        if info.exists()
        else []
    )
    return f"{names[0] if names else platform.processor() or platform.machine()}, {os.cpu_count()} cores"


def matrix_rate(where: str = "cpu", runs: int = 5) -> float:
    """Floating-point operations a second of a matrix product in torch: float32 on all cores, or bfloat16 on a GPU."""
    import torch

    size, dtype = (2048, torch.float32) if where == "cpu" else (8192, torch.bfloat16)
    a, b = torch.rand(2, size, size, device=where).to(dtype)
    return 2 * size**3 / repeated(lambda: finished(a @ b), runs).median


def finished(result: Any) -> Any:
    """A result that is there, and not only queued on a GPU."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return result


def memory_rate(runs: int = 5, megabytes: int = 256) -> float:
    """Bytes a second read and written by a plain copy of a large array."""
    source = np.ones(megabytes * 131_072)
    target = np.empty_like(source)
    return 2 * source.nbytes / repeated(lambda: np.copyto(target, source), runs).median
