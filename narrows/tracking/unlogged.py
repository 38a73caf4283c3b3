"""What is published and MLflow may not know yet: noted before it is published, crossed out when it is logged.

A process that ends in between, killed or because the tracking server is away, leaves the note; the next run logs what it
says. Notes are small files in the state folder, written and read by who holds the store.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from narrows.store.partitions import write_json

if TYPE_CHECKING:
    from narrows.audit.contract import Audit

FOLDER = "unlogged"
KINDS = TABLE, MODEL, RELEASE, RUN = ("table", "model", "release", "run")
"""In the order in which they are logged: a run is closed after its rooms."""


def note(state: Path, kind: str, room: str, asof: object, **more: Any) -> bool:
    """Note what will be published; whether it was noted before, and so was never logged.

    Args:
        state: the state folder.
        kind: one of `KINDS`.
        room: whose table or model it is; of a run its last room.
        asof: of the partition.
        more: JSON values by which it is logged: ``version``, ``run_id``, ``run_asof``, ``audit``.
    """
    file = _file(state, kind, room, asof)
    before = file.exists()
    write_json(file, {"kind": kind, "room": room, "asof": str(asof), **more})
    return before


def logged(state: Path, kind: str, room: str, asof: object) -> None:
    """Cross out a note, if there is one."""
    _file(state, kind, room, asof).unlink(missing_ok=True)


def noted(state: Path) -> list[dict[str, Any]]:
    """All notes, in the order in which they are to be logged."""
    notes = [json.loads(file.read_text()) for file in sorted((state / FOLDER).glob("*.json"))]
    return sorted(notes, key=lambda one: KINDS.index(one["kind"]))


def audit_of(one: dict[str, Any]) -> Audit | None:
    """The audit of a note; None of a model."""
    from narrows.audit.contract import Audit

    return Audit(**json.loads(one["audit"])) if one.get("audit") else None


def _file(state: Path, kind: str, room: str, asof: object) -> Path:
    key = hashlib.sha256(f"{kind} {room} {asof}".encode()).hexdigest()[:16]
    return state / FOLDER / f"{kind}-{key}.json"
