"""What lies in a store in folders and is not needed: it goes in steps that a reader and a kill survive."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from narrows.asof import Asof
from narrows.store import garbage
from narrows.store.garbage import Garbage
from narrows.store.partitions import Store
from narrows.store.write import write_table

DAY = Asof.parse("2024-03-01")
WEEK, NO_GRACE = timedelta(days=7), timedelta()


def publish(store: Store, mark: str, asof: Asof = DAY, table: str = "lists", **meta: object):
    draft = store.draft(table, asof, mark * 64)
    write_table(pa.table({"n": [1]}), draft / "data")
    return store.publish(table, asof, draft, {"fingerprint": mark * 64, "rows": 1, **meta})


def names(found, ready: bool | None = None) -> set[str]:
    return {each.name[:1] for each in found if ready is None or each.ready == ready}


def aged(store: Store, hours: float = 2) -> None:
    """Let all pointers have been written long ago."""
    for pointer in store.root.glob("*/*/*"):
        os.utime(pointer, (time.time() - 3600 * hours,) * 2)


# ---------------------------------------------------------------- what lies in the folders


def test_what_is_not_needed_is_listed_and_goes_and_the_pointer_stays_with_what_is_needed(tmp_path):
    store = Store(tmp_path)
    for mark in "abc":
        publish(store, mark)
    (store.root / "lists" / str(DAY) / ".draft-dead-1").mkdir()
    (store.root / "lists" / str(DAY) / ("d" * 16)).mkdir()
    found = Garbage(store, NO_GRACE).leftovers({"a" * 16})
    assert sorted(each.kind for each in found) == ["damaged", "draft", "version"]
    assert [each.name for each in found if each.kind == "version"] == ["b" * 16], "c is current beside a needed one"
    assert Garbage(store, NO_GRACE).remove(found) == found
    assert store.current("lists", DAY).version == "c" * 16
    assert store.find("lists", DAY, "b" * 64) is None
    assert store.find("lists", DAY, "a" * 64).arrow()["n"].to_pylist() == [1]
    assert sorted(path.name for path in (tmp_path / "lists" / str(DAY)).iterdir()) == ["CURRENT", "a" * 16, "c" * 16]


def test_a_version_stays_while_a_reader_may_have_opened_it_under_a_pointer(tmp_path):
    store, gc = Store(tmp_path), Garbage(Store(tmp_path), timedelta(hours=1))
    publish(store, "a")
    aged(store)
    publish(store, "b")
    assert names(gc.leftovers({"b" * 16}), ready=False) == {"a"}
    assert gc.remove(gc.leftovers({"b" * 16})) == []
    aged(store)
    assert names(gc.remove(gc.leftovers({"b" * 16}))) == {"a"}


def test_a_partition_of_which_nothing_is_needed_loses_its_pointer_first_and_its_versions_later(tmp_path):
    store, gc = Store(tmp_path), Garbage(Store(tmp_path), timedelta(hours=1))
    publish(store, "a")
    aged(store)
    assert names(gc.leftovers(()), ready=False) == {"a"}
    assert gc.remove(gc.leftovers(())) == []
    assert store.current("lists", DAY) is None, "nobody opens it any more"
    assert store.find("lists", DAY, "a" * 64).rows == 1, "who has it open goes on"
    assert gc.remove(gc.leftovers(())) == []
    aged(store)
    assert names(gc.remove(gc.leftovers(()))) == {"a"}
    assert list(tmp_path.iterdir()) == []
    publish(store, "a")
    assert store.current("lists", DAY).rows == 1


def test_a_withdrawn_version_that_a_run_finds_again_is_current_again(tmp_path):
    store, gc = Store(tmp_path), Garbage(Store(tmp_path), timedelta(hours=1))
    publish(store, "a")
    aged(store)
    gc.remove(gc.leftovers(()))
    store.point("lists", DAY, "a" * 64)
    aged(store)
    assert gc.leftovers({"a" * 16}) == []
    assert store.current("lists", DAY).rows == 1


@pytest.mark.parametrize("where", ["rename", "delete"])
def test_a_kill_at_any_point_leaves_nothing_half_readable_and_the_next_call_heals(tmp_path, monkeypatch, where):
    store, gc = Store(tmp_path), Garbage(Store(tmp_path), NO_GRACE)
    publish(store, "a")
    publish(store, "b")

    class Killed(BaseException):
        pass

    def die(path: Path, *_: object) -> None:
        if where == "delete":
            next(path.rglob("*.parquet")).unlink()
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(*((Path, "rename") if where == "rename" else (garbage.shutil, "rmtree")), die)
        with pytest.raises(Killed):
            gc.remove(gc.leftovers({"b" * 16}))
    table = store.find("lists", DAY, "a" * 64)
    assert table is None or table.arrow()["n"].to_pylist() == [1], "whole or gone"
    assert store.current("lists", DAY).version == "b" * 16
    gc.remove(gc.leftovers({"b" * 16}))
    assert sorted(path.name for path in (tmp_path / "lists" / str(DAY)).iterdir()) == ["CURRENT", "b" * 16]


def test_a_file_that_a_needed_version_links_counts_for_nothing(tmp_path):
    store = Store(tmp_path)
    first = publish(store, "a", table="events")
    draft = store.draft("events", DAY + WEEK, "b" * 64)
    for file, place in first.files():
        os.link(file, draft / "data" / place)
    store.publish("events", DAY + WEEK, draft, {"fingerprint": "b" * 64, "rows": 1})
    gc = Garbage(store, NO_GRACE)
    manifest = (first._folder / "manifest.json").stat().st_size
    one, both = gc.leftovers({"b" * 16}), gc.leftovers(())
    rows = next(first._folder.rglob("*.parquet")).stat().st_size
    pointer = len("b" * 16)
    assert [each.size for each in one] == [manifest]
    assert sum(each.size for each in both) == 2 * manifest + rows
    assert gc.size() == 2 * manifest + rows + 2 * pointer
    gc.remove(one)
    assert store.current("events", DAY + WEEK).arrow()["n"].to_pylist() == [1]
