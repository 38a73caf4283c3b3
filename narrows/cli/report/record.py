"""The record of a run: what it was, what it made and what it was worth, as one JSON file in the state folder.

Tables are kept by version, so a record names what a run published even after another run of the same as-of. Records are
numbered from 1. A run that found all its tables in the store has the record of the run that made them.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from narrows.config.design import design_name, design_of
from narrows.stage import settings_of
from narrows.store.partitions import StoreError, open_store, write_json

if TYPE_CHECKING:
    from narrows.asof import Asof
    from narrows.settings import Settings

FOLDER = "runs"


def write(settings: Settings, run_id: str, asof: Asof, code: str) -> dict[str, Any]:
    """Record the run that made, or found, the current tables of an as-of.

    Args:
        settings: that it ran with.
        run_id: what groups its rooms; a second record of the same run replaces the first.
        asof: the partition.
        code: the version of the code.

    Returns:
        ``number``, ``run_id``, ``asof``, ``recorded_at``, ``source``, ``horizon``, ``code``, ``name``, ``design`` (see
        `design_of`), ``settings`` by room, ``tables`` (by room ``version``, ``cached``: made by an earlier run,
        ``made_by``: that run, ``inputs``) and ``facts``: all that the report says.
    """
    from narrows.cli.report.published import facts_of

    store, design = open_store(settings), design_of(settings)
    current = {room: table for room in settings.rooms if (table := store.current(room, asof))}
    tables = {
        room: {"version": table.version, "cached": table.meta["run_id"] != run_id, "made_by": table.meta["run_id"],
               "rows": table.rows, "inputs": table.meta["inputs"]}
        for room, table in current.items()
    }  # fmt: skip
    records = read_all(settings.state)
    for record in records:  # a run that found everything is the run that made it
        if (record["asof"], record["design"], _versions(record["tables"])) == (str(asof), design, _versions(tables)):
            return record
    numbers = {record["run_id"]: record["number"] for record in records}
    number = numbers.get(run_id, max(numbers.values(), default=0) + 1)
    record = {
        "number": number, "run_id": run_id, "asof": str(asof), "recorded_at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "source": settings.source.name, "horizon": settings.source.horizon, "grain": settings.source.grain,
        "code": code, "name": f"{asof} {design_name(design)}", "design": design,
        "settings": {name: settings_of(room) for name, room in settings.rooms.items()},
        **({"store": str(settings.tables)} if settings.store.tables else {}), "tables": tables, "facts": facts_of(settings, asof),
    }  # fmt: skip
    write_json(settings.state / FOLDER / f"{number}.json", record)
    return read(settings.state, str(number))


def amend(state: Path, record: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Add to a record what was found after it was written; the record."""
    record |= more
    write_json(state / FOLDER / f"{record['number']}.json", record)
    return record


def of_tables(settings: Settings, asof: Asof) -> dict[str, Any] | None:
    """The record of the run whose tables are the current ones of an as-of; None where there is none."""
    store = open_store(settings)
    current = {room: table.version for room in settings.rooms if (table := store.current(room, asof))}
    found = [
        each for each in read_all(settings.state) if (each["asof"], _versions(each["tables"])) == (str(asof), current)
    ]
    return found[-1] if found else None


def _versions(tables: dict[str, Any]) -> dict[str, str]:
    return {room: table["version"] for room, table in tables.items()}


def read_all(state: Path) -> list[dict[str, Any]]:
    """Every record of a state folder, in the order of their numbers."""
    files = [path for path in (state / FOLDER).glob("*.json") if path.stem.isdigit()]
    return [json.loads(path.read_text()) for path in sorted(files, key=lambda path: int(path.stem))]


def read(state: Path, which: str) -> dict[str, Any]:
    """One record: by its number, its run id, or an as-of (the newest run of it).

    Raises:
        StoreError: there is none; says which there are.
    """
    records = read_all(state)
    for key in ("number", "run_id", "asof"):
        for record in reversed(records):
            if str(record[key]) == which:
                return record
    known = ", ".join(f"{record['number']} ({record['name']})" for record in records[-5:]) or "none"
    raise StoreError(f"no run {which!r} in {state}. The newest are: {known}")
