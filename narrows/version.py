"""Which code this is."""

from __future__ import annotations

import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def text() -> str:
    """``narrows 0.1.0 (commit 1a2b3c4d5e6f), Python 3.11.2``; without the commit outside a clone of the repository."""
    try:
        number = version("narrows")
    except PackageNotFoundError:  # the sources alone
        number = "(not installed)"
    found = commit()
    return f"narrows {number}{f' (commit {found})' if found else ''}, Python {platform.python_version()}"


@cache
def commit() -> str:
    """The commit of the code, with ``+`` where files differ from it; empty outside a clone."""
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():
        return ""
    try:
        done = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--abbrev=12", "--exclude=*", "--dirty=+"],
            capture_output=True, text=True, check=True, timeout=10,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
