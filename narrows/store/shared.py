"""Files that partitions of a table have in common, stored once.

A partition that serves earlier as-ofs has all that they knew: of a source that grows day by day, all files but the last
days'. The source has changed, so the room makes them again; here they turn out to be the same.
"""

from __future__ import annotations

import filecmp
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from narrows.asof import Asof
    from narrows.store.partitions import Store
    from narrows.store.table import Table


def alike(store: Store, name: str, asof: Asof) -> list[Table]:
    """The published partitions that may have files in common with a new one: the one that it replaces, and the newest before."""
    before = [day for day in store.partitions(name) if day < asof][-1:]
    found = (store.current(name, day) for day in (asof, *before))
    return [table for table in found if table]


def link_same(data: Path, tables: Iterable[Table]) -> None:
    """Let files of a draft be files of other partitions (links) where those have the same rows in the same folder."""
    for table in tables:
        there: dict[Path, list[Path]] = {}
        for file, place in table.files():
            there.setdefault(place.parent, []).append(file)
        for file in data.rglob("*.parquet"):
            same = (other for other in there.get(file.relative_to(data).parent, ()) if _is_same(file, other))
            if other := next(same, None):
                link = file.with_name(f".{file.name}")
                try:
                    os.link(other, link)
                except OSError:  # a file system without links, or too many of them
                    return
                link.replace(file)


def digest(file: Path) -> str:
    """A hash of a file's content."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _is_same(one: Path, other: Path) -> bool:
    """Whether two files hold the same rows; the same bytes, or the same rows in other blocks."""
    if one.samefile(other):
        return False  # nothing to do
    if filecmp.cmp(one, other, shallow=False):
        return True
    from pyarrow.parquet import ParquetFile

    with ParquetFile(one) as a, ParquetFile(other) as b:
        return a.metadata.num_rows == b.metadata.num_rows and a.read().equals(b.read())
