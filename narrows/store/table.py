"""Handles on published partitions: what readers get; where the rows lie is the store's business alone."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from narrows.asof import KNOWN, Asof, known_rows, known_rows_spark

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.dataset as ds
    from pyspark.sql import DataFrame, SparkSession

    from narrows.store.remote import Remote

HIVE = "hive"
REQUESTS = "requests"
"""The side table of a narrowing room that has the users of its flow sample."""
BATCH_ROWS = 32_768
"""Rows that are read at once where a table is read batch by batch."""


def part_name(number: int) -> str:
    """The file of a table's shard."""
    return f"part-{number:05d}.parquet"


@dataclass(frozen=True)
class Table:
    """A handle on one published partition of one table."""

    name: str
    asof: Asof
    version: str
    """The first 16 hex digits of the fingerprint."""
    _folder: Path = field(repr=False)
    meta: dict[str, Any]
    """What the runner wrote beside the rows: fingerprint, inputs, settings, rows, cost, notes of the room."""
    _data: str = field(default="data", repr=False)
    _remote: Remote | None = field(default=None, repr=False)
    """Of a version on an object store: its files there, and their copies here."""

    @property
    def rows(self) -> int:
        return int(self.meta["rows"])

    @property
    def notes(self) -> dict[str, Any]:
        """What the room had to say beside its rows (JSON values)."""
        return self.meta.get("notes", {})

    @property
    def complete(self) -> bool:
        """Whether its as-of had ended when it was made: else there was more to come."""
        made = self.meta.get("made_at")
        return not made or datetime.fromisoformat(made) >= self.asof.end

    @property
    def known_by(self) -> Asof:
        """Rows are read as known by this as-of."""
        return self.asof

    @property
    def _is_cut(self) -> bool:
        """Whether the files may hold rows that this as-of must not know."""
        return self._data == "data" and self.meta.get("partitioned_by") == KNOWN

    def dataset(self) -> ds.Dataset:
        """All files of the partition as an Arrow dataset, without the cut in time."""
        import pyarrow.dataset as ds

        if self._remote:
            return self._remote.dataset(self._data)
        return ds.dataset(self._folder / self._data, format="parquet", partitioning=HIVE)

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return self.dataset().schema.names

    def arrow(self, columns: list[str] | None = None, where: Any = None) -> pa.Table:
        """The rows as an Arrow table, optionally some columns and the rows that ``where`` (a dataset filter) holds."""
        if self._is_cut:
            cut = known_rows(self.known_by)
            where = cut if where is None else cut & where
        return self.dataset().to_table(columns=columns, filter=where).combine_chunks()

    def batches(self, columns: list[str] | None = None, where: Any = None) -> Iterator[pa.RecordBatch]:
        """The rows of `arrow` in the same order, batch by batch, so that only a few batches are in memory."""
        if self._is_cut:
            cut = known_rows(self.known_by)
            where = cut if where is None else cut & where
        yield from self.dataset().to_batches(
            columns=columns, filter=where, batch_size=BATCH_ROWS, batch_readahead=2, fragment_readahead=1
        )

    def count(self, where: Any = None) -> int:
        """How many rows there are, or how many a dataset filter holds."""
        if self._is_cut:
            cut = known_rows(self.known_by)
            where = cut if where is None else cut & where
        return int(self.dataset().count_rows(filter=where))

    def part(self, number: int, where: Any = None) -> pa.Table:
        """The rows of one shard."""
        import pyarrow.parquet as pq

        if self._remote:
            path, fs = self._remote.file(self._data, part_name(number))
            return pq.read_table(path, filesystem=fs, filters=where)
        return pq.read_table(self._folder / self._data / part_name(number), filters=where)

    def rows_between(self, start: int, stop: int, where: Any = None) -> pa.Table:
        """Those of the rows ``[start, stop)``, in the order of `batches`, that ``where`` holds; only their row groups are read."""
        import pyarrow as pa

        data, before = self.dataset(), 0
        found = [data.schema.empty_table()]
        for file in data.get_fragments():
            for group in file.split_by_row_group():
                begins, before = before, before + group.row_groups[0].num_rows
                if begins < stop and before > start:
                    rows = group.to_table(schema=data.schema)
                    found.append(rows.slice(max(0, start - begins), min(before, stop) - max(begins, start)))
            if before >= stop:
                break
        rows = pa.concat_tables(found)
        return (rows if where is None else rows.filter(where)).combine_chunks()

    def parts(self, columns: list[str] | None = None, where: Any = None) -> Iterator[pa.Table]:
        """The rows file by file, in the files' order; of a room that narrows each is a shard."""
        import pyarrow.dataset as ds

        for file, _ in self.files():
            yield ds.dataset(file, format="parquet").to_table(columns=columns, filter=where)

    def spark(self, session: SparkSession, folders: Collection[str] = ()) -> DataFrame:
        """The rows, or those of some ``folders``, as a Spark frame; Hive-style folders below the data become text columns.

        To look at a few folders takes as long however many there are.
        """
        root = self._here(self._data)
        reader = session.read.option("basePath", str(root)) if folders else session.read
        rows = reader.parquet(*(str(root / name) for name in folders)) if folders else reader.parquet(str(root))
        return rows.where(known_rows_spark(self.known_by)) if self._is_cut else rows

    def side(self, name: str) -> Table:
        """A table that was published with this one, such as the quarantine."""
        return Table(name, self.asof, self.version, self._folder, self.meta, name, self._remote)

    @property
    def requests(self) -> Table | None:
        """Of a narrowing room's table the users of its flow sample, with ``request_weight``; None where it is of everybody."""
        return self.side(REQUESTS) if self.has_side(REQUESTS) else None

    def has_side(self, name: str) -> bool:
        """Whether a table of this name was published with this one."""
        return name in self._remote.kinds if self._remote else (self._folder / name).is_dir()

    @property
    def sides(self) -> list[str]:
        """The names of the tables that were published with this one."""
        folders = (path.name for path in self._folder.iterdir() if path.is_dir()) if not self._remote else ()
        kinds = self._remote.kinds if self._remote else folders
        return sorted(name for name in kinds if name not in ("data", "model"))

    def known_at(self, asof: Asof) -> Table:
        """The same files as an earlier as-of knew them."""
        return Table(self.name, asof, self.version, self._folder, self.meta, _remote=self._remote)

    def truth(self, asof: Asof) -> Truth:
        """The same files up to this partition's as-of, for judging what was made as of an earlier one."""
        return Truth(self.name, asof, self.version, self._folder, self.meta, end=self.asof, _remote=self._remote)

    @property
    def model_folder(self) -> Path:
        """The files of a model."""
        return self._here("model")

    def files(self) -> Iterator[tuple[Path, Path]]:
        """Every file of the rows: where it lies on this machine, and its path below the table."""
        root = self._here(self._data)
        for file in sorted(root.rglob("*.parquet")):
            yield file, file.relative_to(root)

    @property
    def folders(self) -> list[str]:
        """The folders that the rows lie in, in order: of a table of periods ``known=<period>``."""
        return sorted({place.parts[0] for _, place in self.files() if len(place.parts) > 1})

    def _here(self, kind: str) -> Path:
        """A folder of the version on this machine; of one on an object store it is fetched."""
        return self._remote.fetched(kind) if self._remote else self._folder / kind


class Past(dict[Asof, Table]):
    """Annotation of a parameter that reads earlier partitions of a table, a horizon apart, oldest first.

    They are what was published then; one that never was is left out.
    """

    def arrow(self, columns: list[str] | None = None, where: Any = None) -> pa.Table:
        """The rows of all of them, oldest first."""
        import pyarrow as pa

        tables = [table.arrow(columns, where) for table in self.values()]
        return pa.concat_tables(tables, promote_options="permissive").combine_chunks()


class Recent(Past):
    """The same, the partition itself included as the last."""


class Previous(Past):
    """Annotation of a parameter that reads the newest partition of a table before the as-of, however long before, if there is one."""


class Flow(dict[str, Table]):
    """Annotation of a parameter that reads the partition of every narrowing room, in their order."""


@dataclass(frozen=True)
class Truth(Table):
    """Annotation of a parameter that reads a table's rows up to the end of the horizon after the as-of."""

    end: Asof | None = None
    """The as-of at the end of the horizon."""

    @property
    def known_by(self) -> Asof:
        return self.end or self.asof
