"""Which files of the source a partition has to read: a listing lies beside the events, so that a later one reads what is new.

Files are added to a source, and never changed. Where one was, or is gone, the source is read as a whole.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlparse

from narrows.source.pieces import Piece
from narrows.stage import Table

if TYPE_CHECKING:
    import pyarrow as pa

Listed = Mapping[str, tuple[Path, str]]
"""The files of a source: `narrows.source.files.Source.listing`."""
LISTING = "listing"
"""The side table of the files that were read."""
SHOWN = 3
"""Files that a line names."""


@dataclass(frozen=True)
class Arrivals:
    """What of a source an earlier partition has not."""

    new: Piece
    """Files that came since; maybe none."""
    open: Piece
    """Files that it read and that have rows which it did not know yet; maybe none."""


def arrivals(now: Listed, earlier: Table) -> Arrivals | str:
    """What a partition has to read that goes on from an earlier one; a text says why it must read the source as a whole."""
    if not earlier.has_side(LISTING):
        return f"{earlier.asof} has no listing"
    listed = earlier.side(LISTING).arrow()
    before = {row["file"]: (row["stamp"], row["open"]) for row in listed.select(["file", "stamp", "open"]).to_pylist()}
    if gone := sorted(before.keys() - now.keys()):
        return f"{_some(gone)} is gone since {earlier.asof}"
    if changed := sorted(name for name, (stamp, _) in before.items() if now[name][1] != stamp):
        return f"{_some(changed)} has changed since {earlier.asof}"
    columns = str(listed["columns"][0].as_py())
    new = [file for name, (file, _) in now.items() if name not in before]
    unfinished = [now[name][0] for name, (_, is_open) in before.items() if is_open]
    return Arrivals(Piece(new, columns), Piece(unfinished, columns, earlier.asof.end))


def listing(files: Listed, columns: str, unfinished: Collection[str]) -> pa.Table:
    """The side table: ``file``, ``stamp`` (what changes with its content), ``open`` (whether the as-of does not know some of

    its rows yet) and ``columns``, those of the whole source.

    Args:
        files: what was read, or known to be read.
        columns: see `narrows.source.pieces.columns_of`.
        unfinished: the addresses, as Spark writes them, of the open files.
    """
    import pyarrow as pa

    places = {Path(unquote(urlparse(address).path)) for address in unfinished}
    return pa.table(
        {
            "file": pa.array(list(files), pa.string()),
            "stamp": pa.array([stamp for _, stamp in files.values()], pa.string()),
            "open": pa.array([file.absolute() in places for file, _ in files.values()], pa.bool_()),
            "columns": pa.array([columns] * len(files), pa.string()),
        }
    )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}"
