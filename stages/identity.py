"""Who is who: the identity of a room's work, as hashes of settings, code and inputs."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any


def digest(*parts: Any) -> str:
    """A stable sha256 of JSON values, dates and paths."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


@cache
def code_of(name: str) -> str:
    """A hash of the room's own code and of the feature definitions."""
    root = Path(__file__).parent
    files = sorted([*(root / name).rglob("*.py"), *(root.parent / "features").glob("*.py")])
    return digest([(file.name, file.read_text()) for file in files])


def versions(reads: dict[str, Any]) -> dict[str, Any]:
    """The versions of the tables that were read, by parameter; of earlier partitions by day."""
    return {
        name: {str(day): t.version for day, t in value.items()} if isinstance(value, dict) else value.version
        for name, value in reads.items()
    }
