"""Writing a draft's rows as Parquet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from narrows.asof import Asof
from narrows.store.table import part_name

if TYPE_CHECKING:
    import pyarrow as pa

UNFINISHED = ".unfinished-"


def write_file(table: pa.Table, path: Path) -> None:
    """One Parquet file, which has its name when it is whole: who writes it twice, or at once with another, leaves one."""
    import pyarrow.parquet as pq

    draft = unfinished(path)
    pq.write_table(table, draft, compression="zstd", compression_level=1)
    draft.replace(path)


def unfinished(path: Path) -> Path:
    """The name of a file while it is written, which no reader takes for a table's."""
    return path.with_name(f"{UNFINISHED}{path.name}-{uuid4().hex[:8]}")


def drop_unfinished(folder: Path) -> None:
    """Remove what tasks left that were ended as they wrote."""
    for file in folder.rglob(f"{UNFINISHED}part-*"):
        file.unlink(missing_ok=True)


def write_table(data: Any, folder: Path, partitions: list[str] | None = None) -> None:
    """Write a Spark frame, Spark tasks that write themselves, or an Arrow table below ``folder``."""
    import pyarrow as pa

    if isinstance(data, pa.Table):
        folder.mkdir(parents=True, exist_ok=True)
        write_file(data, folder / part_name(0))
    elif hasattr(data, "save"):  # tasks that write themselves: spark.Parts
        data.save(folder)
    else:
        data.write.mode("overwrite").option("compression", "zstd").partitionBy(*(partitions or [])).parquet(str(folder))


def write_ranged(data: Any, drafts: dict[Asof, Path]) -> None:
    """Write the rows of several as-ofs in one job, each as-of into its own draft."""
    whole = list(drafts.values())[-1] / "ranged"
    write_table(data, whole, ["asof"])
    for asof, draft in drafts.items():
        (draft / "data").rmdir()
        (whole / f"asof={asof}").rename(draft / "data")
    for rest in whole.iterdir():  # what Spark leaves beside: its success mark and checksums
        rest.unlink()
    whole.rmdir()
