"""A state folder that was moved or copied: MLflow's database names the files of its runs by absolute paths."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

ARTIFACTS = "mlartifacts"
"""The folder of the runs' files, beside the database."""
COLUMNS = (
    "artifact_location",
    "artifact_uri",
    "source",
    "storage_location",
    "dataset_source",
    "trace_archival_location",
)
"""Columns of MLflow's tables that hold the place of files; not every version has all of them."""


def follow_move(database: Path) -> int:
    """Let the database name the files where they lie now, if its folder was moved or copied; one transaction.

    A place counts as moved if it is a folder ``mlartifacts`` elsewhere while there is one beside the database.

    Args:
        database: of MLflow, in SQLite.

    Returns:
        How many cells were rewritten.
    """
    here = database.absolute().parent / ARTIFACTS
    if not here.is_dir():
        return 0
    with closing(sqlite3.connect(database, timeout=60, isolation_level=None)) as connection:
        if "experiments" not in _tables(connection) or not _moved(connection, here):
            return 0
        connection.execute("BEGIN IMMEDIATE")  # another process may have done it meanwhile: look again
        cells = sum(_rewrite(connection, old, here.as_uri()) for old in _moved(connection, here))
        connection.execute("COMMIT")
    return cells


def _tables(connection: sqlite3.Connection) -> list[str]:
    return [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]


def _moved(connection: sqlite3.Connection, here: Path) -> list[str]:
    """The URIs of experiments whose files lie, as the database has it, in another folder than ``here``."""
    query = "SELECT DISTINCT artifact_location FROM experiments WHERE artifact_location LIKE 'file:%'"
    return [uri for (uri,) in connection.execute(query) if _is_elsewhere(Path(unquote(urlsplit(uri).path)), here)]


def _is_elsewhere(place: Path, here: Path) -> bool:
    return place.name == ARTIFACTS and place != here and not (place.is_dir() and place.samefile(here))


def _rewrite(connection: sqlite3.Connection, old: str, new: str) -> int:
    """Replace a URI where it begins the content of a cell; how many cells there were."""
    cells = 0
    for table in _tables(connection):
        columns = {row[1] for row in connection.execute(f'PRAGMA table_info("{table}")')}
        for column in columns & set(COLUMNS):
            update = (
                f'UPDATE "{table}" SET "{column}" = :new || substr("{column}", length(:old) + 1) '
                f'WHERE "{column}" = :old OR substr("{column}", 1, length(:old) + 1) = :old || \'/\''
            )
            cells += connection.execute(update, {"old": old, "new": new}).rowcount
    return cells
