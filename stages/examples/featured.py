"""The features of examples, computed by Spark's Python tasks from the profiles of the examples' own request time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from narrows.columns import ASOF, USER
from narrows.engine.spark import ROW_GROUP, part_writer
from narrows.stage import Asof, Table

if TYPE_CHECKING:
    import pyarrow as pa


def featured(
    profiles: dict[Asof, tuple[Table, Table]],
    given: list[str],
    horizon: timedelta,
    plugins: tuple[str, ...],
    plugin_folder: str,
) -> Callable[[Iterator[pa.RecordBatch], Path], None]:
    """The task that gives rows every pair feature, computed from the profiles of their own request time.

    The rows come in order of as-of, user and item, and some at a time are in memory.
    """

    by_name = {str(asof): asof for asof in profiles}

    def work(batches: Iterator[pa.RecordBatch], folder: Path) -> None:
        import pyarrow as pa

        from features.lookup import Catalogue, Pairs
        from features.pair import FEATURES
        from narrows.engine.memory import give_back
        from narrows.run.plugins import import_all

        import_all(plugins, plugin_folder)  # a worker is a process of its own
        with ExitStack() as files:
            asof, writer = None, None
            for some in of_one_asof(batches):
                if asof != (asof := by_name[some[ASOF][0].as_py()]):
                    files.close()
                    catalogue, writer = Catalogue(profiles[asof][1].arrow()), None
                users = profiles[asof][0].arrow(where=among(some[USER]))
                give_back()  # what reading a file takes beside its rows is more than they
                pairs = Pairs(users, catalogue.items, some, catalogue)
                for name in (name for name in FEATURES if name not in given):
                    some = some.append_column(name, pa.array(FEATURES[name](pairs), pa.float32()))
                writer = writer or files.enter_context(part_writer(some.schema, folder / f"{ASOF}={asof + horizon}"))
                writer.write_table(some, row_group_size=ROW_GROUP)

    return work


def of_one_asof(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    """The rows of batches, each table of one as-of."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for batch in batches:
        rows = pa.Table.from_batches([batch])
        for asof in rows[ASOF].unique():
            yield rows.filter(pc.equal(rows[ASOF], asof))


def among(users: pa.ChunkedArray) -> Any:
    """The filter of a users' table that leaves these, who are in order: other parts of its files are not read."""
    import pyarrow.compute as pc

    field = pc.field(USER)
    return (field >= users[0]) & (field <= users[-1]) & field.isin(users.unique())
