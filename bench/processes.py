"""``python -m bench.processes COMMAND ...``: a command, timed, with the memory of all its processes together."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

EVERY = 1.0
"""Seconds from one sample of the memory to the next."""


class Ran(NamedTuple):
    """What a command took."""

    code: int
    seconds: float
    peak: int
    """Bytes: the largest sum, over all its processes, of what each has for itself and its part of what is shared (PSS)."""


def watched(command: Sequence[str], env: Mapping[str, str], log: Path) -> Ran:
    """Run a command to its end, its output into a file."""
    began, peak = time.perf_counter(), 0
    with log.open("wb") as out, subprocess.Popen(command, env={**os.environ, **env}, stdout=out, stderr=out) as process:
        root = psutil.Process(process.pid)
        while process.poll() is None:
            peak = max(peak, memory(root))
            time.sleep(EVERY)
    return Ran(process.returncode, time.perf_counter() - began, peak)


def memory(root: psutil.Process) -> int:
    """Bytes that a process and all below it take now."""
    total = 0
    try:
        everybody = [root, *root.children(recursive=True)]
    except psutil.Error:
        return 0
    for each in everybody:
        try:
            total += each.memory_full_info().pss
        except psutil.Error:  # it ended meanwhile
            continue
    return total


def main() -> None:
    """Run the command of the arguments, and print what it took."""
    ran = watched(sys.argv[1:], {}, Path(os.devnull))
    print(f"exit {ran.code}, {ran.seconds:.1f} s, {ran.peak / 1e9:.2f} GB of all processes")


if __name__ == "__main__":
    main()
