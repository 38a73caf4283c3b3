"""Events are stored once however many days arrive: measured on the disk and at an address."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from narrows.asof import KNOWN, Asof
from narrows.engine.cost import Cost
from narrows.run.publish import Draft
from narrows.store import shared
from narrows.store.conditional import Objects
from narrows.store.garbage import Garbage
from narrows.store.partitions import Store
from narrows.store.write import write_file
from tests import world
from tests.fixtures import run_line

FIRST = Asof.parse("2024-02-19")
STEP = timedelta(days=7)
"""The households of the world shop on Mondays."""
DAYS = 4


def arrive(folder: Path, asof: Asof) -> None:
    """The source has grown by a day with events: it is another file than before."""
    events = pl.from_arrow(world.events())
    (folder / "events.parquet").unlink(missing_ok=True)
    pq.write_table(events.filter(pl.col("at") < asof.end).to_arrow(), folder / "events.parquet")


@pytest.mark.parametrize("where", ["folders", "address"])
def test_days_that_arrive_one_by_one_add_their_own_rows_alone(spark, tmp_path, where):
    file = world.write(tmp_path)
    address = f"memory://{uuid4().hex}"
    if where == "address":
        file.write_text(f'{file.read_text()}\n[store]\ntables = "{address}"\n')
    sizes, tables = [], []
    for number in range(DAYS):
        asof = FIRST + number * STEP
        arrive(tmp_path, asof)
        line = run_line(file, asof, ("events",))
        tables.append(line.table("events"))
        if where == "folders":
            sizes.append(sum(each.lstat().st_size for each in inodes(line.runner.store.root / "events")))
        else:
            sizes.append(sum(at_address(address)))
    assert len({table.version for table in tables}) == DAYS, "the source changed every day"
    whole = pl.DataFrame(tables[-1].arrow())
    assert whole[KNOWN].n_unique() > 8
    assert tables[0].rows < tables[-1].rows == whole.height
    new = whole.filter(pl.col(KNOWN) > str(FIRST)).height / whole.height
    assert sizes[-1] < sizes[0] * (1 + 2 * new), "history is not stored again"
    for table in tables:
        assert pl.DataFrame(table.arrow()).equals(whole.filter(pl.col(KNOWN) <= str(table.asof))), table.asof


def inodes(root: Path) -> list[Path]:
    """The files of rows below a folder, each once however often it is linked."""
    return list({path.stat().st_ino: path for path in root.rglob("known=*/*.parquet")}.values())


def at_address(address: str) -> list[int]:
    """The sizes of the files of events at an address."""
    objects = Objects(address)
    found = objects.fs.find(objects.path("events"), detail=True)
    return [info["size"] for path, info in found.items() if f"/{KNOWN}=" in path]


def publish(store: Store, mark: str, day: Asof, periods: dict[str, pa.Table], **meta: object) -> None:
    draft = store.draft("events", day, mark * 64)
    for period, rows in periods.items():
        (draft / "data" / f"known={period}").mkdir()
        write_file(rows, draft / "data" / f"known={period}" / f"part-{mark}.parquet")
    store.publish("events", day, draft, {"fingerprint": mark * 64, "rows": 0, "partitioned_by": KNOWN, **meta})


def test_the_same_rows_are_the_same_file_whatever_their_blocks_and_another_row_is_another_file(tmp_path):
    store, day = Store(tmp_path), Asof.parse("2024-03-01")
    rows = pa.table({"n": list(range(1000))})
    publish(store, "a", day, {"1": rows, "2": rows, "3": rows.slice(1)})
    draft = store.draft("events", day + timedelta(days=1), "b" * 64)
    for period in "123":
        (draft / "data" / f"known={period}").mkdir()
        pq.write_table(rows, draft / "data" / f"known={period}" / "part-b.parquet", row_group_size=100)
    meta = {"fingerprint": "b" * 64, "rows": 0, "partitioned_by": KNOWN}
    store.publish("events", day + timedelta(days=1), draft, meta)
    assert len(inodes(tmp_path)) == 4, "the third period has another row"
    again = store.current("events", day + timedelta(days=1))
    assert [file.name for file, _ in again.files()] == ["part-b.parquet"] * 3
    publish(store, "c", day, {"1": rows})
    assert len(inodes(tmp_path)) == 4, "also of the version that it replaces"
    publish(store, "d", day, {"2": rows}, partitioned_by="")
    assert len(inodes(tmp_path)) == 5, "of other tables every version has its own"
    gc = Garbage(store, timedelta())
    gc.remove(gc.leftovers({"b" * 16}))
    assert store.current("events", day) is None
    assert again.dataset().count_rows() == 3000


def test_a_file_system_without_links_has_the_rows_all_the_same(tmp_path, monkeypatch):
    def refused(*_: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(shared.os, "link", refused)
    store, day = Store(tmp_path), Asof.parse("2024-03-01")
    rows = pa.table({"n": [1, 2]})
    for number, mark in enumerate("ab"):
        publish(store, mark, day + number * timedelta(days=1), {"1": rows})
    assert len(inodes(tmp_path)) == 2
    assert store.current("events", day + timedelta(days=1)).dataset().count_rows() == 2


def test_files_that_an_earlier_partition_has_are_not_audited_again(tmp_path):
    """What is new is, and where nothing is, the newest period: a table without rows would be broken."""
    places = [Path(f"known=2024-01-0{day}/part-00000.parquet") for day in (1, 2, 3)]
    for place in places:
        (tmp_path / "data" / place).parent.mkdir(parents=True)
        (tmp_path / "data" / place).touch()

    def fresh(shared: list[Path]) -> list[str]:
        draft = Draft(None, FIRST, tmp_path, "f", "r", {}, Cost(), {}, shared=shared)
        return [Path(file).parent.name for file in draft.fresh]

    assert fresh([]) == []
    assert fresh(places[:1]) == ["known=2024-01-02", "known=2024-01-03"]
    assert fresh(places) == ["known=2024-01-03"]
