"""Tables on an object store: what a version is, gc, copies, settings, the whole line."""

from __future__ import annotations

import json
import os
import time
from datetime import timedelta
from uuid import uuid4

import pyarrow.dataset as ds
import pytest

from narrows.cli.check import tables as check_tables
from narrows.settings import SettingsError, load_settings
from narrows.store.conditional import Objects, filesystem
from narrows.store.garbage import garbage_of
from narrows.store.objects import ObjectStore
from narrows.store.partitions import Store, StoreError, open_store
from tests import world
from tests.fixtures import Line, run_line
from tests.object_stores import DAY, NEW, OLD, WEEK, keys, open_at, publish, rows

pytestmark = pytest.mark.usefixtures("not_a_child")

# ---------------------------------------------------------------- what a version is


def test_another_machine_reads_what_one_published(address, tmp_path, spark):
    here, there = open_at(address, tmp_path / "here"), open_at(address, tmp_path / "there")
    assert there.current("events", DAY) is None
    assert there.partitions("events") == []
    with here.lock("a test"):
        publish(here, OLD, [1, 2], partitioned_by="known")
        publish(here, OLD, [3], DAY + WEEK)
    table = there.current("events", DAY)
    assert (table.version, table.rows, table.columns) == (OLD[:16], 2, ["n", "known"])
    assert table.meta == here.find("events", DAY, OLD).meta
    assert table.arrow(where=ds.field("n") > 1).to_pylist() == [{"n": 2, "known": str(DAY)}]
    assert not (there.root / "events").exists(), "Arrow reads where the files lie"
    assert table.sides == ["items"]
    assert table.has_side("items")
    assert not table.has_side("users")
    assert table.side("items").part(0)["id"].to_pylist() == [1]
    assert table.known_at(DAY - WEEK).arrow().num_rows == 0
    assert [row["n"] for row in table.spark(spark).orderBy("n").collect()] == [1, 2]
    assert table.arrow(["n"])["n"].to_pylist() == [1, 2], "and now from the copy"
    assert there.partitions("events") == [DAY, DAY + WEEK]
    assert there.find("events", DAY, NEW) is None


def test_models_come_as_a_folder(address, tmp_path):
    here, there = open_at(address, tmp_path / "here"), open_at(address, tmp_path / "there")
    with here.lock("a test"):
        draft = here.draft("rank.model", DAY, OLD)
        (draft / "model" / "deep").mkdir(parents=True)
        (draft / "model" / "deep" / "_weights").write_text("w")
        made = here.publish("rank.model", DAY, draft, {"fingerprint": OLD, "rows": 0})
    assert (made.model_folder / "deep" / "_weights").read_text() == "w"
    folder = there.find("rank.model", DAY, OLD).model_folder
    assert (folder / "deep" / "_weights").read_text() == "w"
    assert there.root in folder.parents


def test_events_are_stored_once_however_many_days_arrive(address, tmp_path):
    """A later partition lists the earlier one's files; also one that another machine made."""
    for number in range(4):
        store, day = open_at(address, tmp_path / f"machine {number % 2}"), DAY + number * WEEK
        with store.lock("a test"):
            earlier = store.current("events", day - WEEK)
            publish(store, f"{number}" * 64, [number], day, earlier)
    assert sorted(rows(store, day)) == [0, 1, 2, 3]
    assert sum("/data/" in key for key in keys(address)) == 4
    assert store.current("events", day).dataset().count_rows() == 4
    fresh = open_at(address, tmp_path / "fresh").current("events", day)
    assert sorted(fresh.arrow()["known"].to_pylist()) == [str(DAY + n * WEEK) for n in range(4)]
    assert len(list(fresh.files())) == 4


def test_the_same_fingerprint_published_twice_keeps_the_first(address, tmp_path):
    one, two = open_at(address, tmp_path / "one"), open_at(address, tmp_path / "two")
    with one.lock("a test"):
        publish(one, OLD, [1])
    before = [key for key in keys(address) if key.endswith("manifest.json")]
    with two.lock("a test"):
        assert publish(two, OLD, [2]).arrow()["n"].to_pylist() == [1]
    assert [key for key in keys(address) if key.endswith("manifest.json")] == before
    with two.lock("a test"):
        unlisted = garbage_of(two, timedelta()).leftovers({OLD[:16]})
    assert {each.kind for each in unlisted} == {"unlisted"}, "what the second attempt uploaded"


# ---------------------------------------------------------------- gc and copies


def test_gc_keeps_the_files_that_a_needed_version_lists(address, tmp_path):
    store = open_at(address, tmp_path)
    with store.lock("a test"):
        first = publish(store, OLD, [1], inputs={"a": "b"}, past=True)
        publish(store, NEW, [2], DAY + WEEK, first)
    known = garbage_of(store, timedelta()).versions()
    assert [(each.name, each.inputs, each.past, each.is_current) for each in known] == [
        (OLD[:16], {"a": "b"}, True, True),
        (NEW[:16], {}, False, True),
    ]
    recent = garbage_of(store, timedelta(hours=1)).leftovers({NEW[:16]})
    assert [(each.name, each.ready) for each in recent] == [(OLD[:16], False)]
    with store.lock("gc"):
        assert garbage_of(store, timedelta(hours=1)).remove(recent) == []
        assert store.current("events", DAY) is None
        assert store.find("events", DAY, OLD).rows == 1, "who has it open goes on"
        gc = garbage_of(store, timedelta())
        found = gc.leftovers({NEW[:16]})
        assert [each.name for each in found] == [OLD[:16]]
        assert 0 < found[0].size < gc.size()
        assert gc.remove(found) == found
    assert store.find("events", DAY, OLD) is None
    assert sorted(rows(open_at(address, tmp_path / "fresh"), DAY + WEEK)) == [1, 2]
    with store.lock("gc"):
        gc = garbage_of(store, timedelta())
        assert gc.leftovers({NEW[:16]}) == []
        gc.remove(gc.leftovers(()))
    with store.lock("gc"):
        gc = garbage_of(store, timedelta())
        gc.remove(gc.leftovers(()))
    assert keys(address) == ["LEASE.json"]


def test_gc_needs_the_lease(address, tmp_path):
    with pytest.raises(StoreError, match="without its lease"):
        garbage_of(open_at(address, tmp_path), timedelta()).remove([])


def test_copies_that_were_not_opened_for_longest_are_dropped(tmp_path):
    address = f"memory://{uuid4().hex}"
    store = open_at(address, tmp_path)
    with store.lock("a test"):
        for number in range(3):
            publish(store, f"{number}" * 64, [number], DAY + number * WEEK)
            folder = store.folder("events", DAY + number * WEEK, f"{number}" * 64)
            os.utime(folder, (time.time() - 3600 * (5 - number),) * 2)
    small = ObjectStore(store.root, store.grain, address, limit=1)
    assert len(list(small.root.glob("events/*/*"))) == 3
    small.current("events", DAY + 2 * WEEK)._here("data")
    assert [path.name for path in small.root.glob("events/*/*")] == ["2" * 16], (
        "what was opened now stays, whatever the limit"
    )
    assert rows(small) == [0]


# ---------------------------------------------------------------- settings and messages


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('tables = "gs://bucket/x"', "no safe way to publish on gs://"),
        ('tables = "s3://key:secret@bucket/x"', "holds no credentials"),
        ('tables = "s3://"', "names no place"),
        ('root = "s3://bucket/x"', "give tables the address"),
    ],
)
def test_addresses_that_cannot_be_are_refused(tmp_path, line, said):
    (tmp_path / "narrows.toml").write_text(f"[store]\n{line}\n")
    with pytest.raises(SettingsError, match=said) as refused:
        load_settings(tmp_path / "narrows.toml", {})
    assert "secret" not in str(refused.value)


def test_tables_in_another_folder_are_a_store_in_folders(tmp_path):
    (tmp_path / "narrows.toml").write_text('[store]\ntables = "elsewhere"\n')
    store = open_store(load_settings(tmp_path / "narrows.toml", {}))
    assert type(store) is Store
    assert store.root == tmp_path / "elsewhere"
    (tmp_path / "narrows.toml").write_text("")
    assert open_store(load_settings(tmp_path / "narrows.toml", {})).root == tmp_path / "var" / "tables"


def test_a_bucket_that_is_not_there_and_a_server_that_does_not_answer_are_one_line(s3, tmp_path, monkeypatch):
    store = open_at(f"s3://{uuid4().hex}/x", tmp_path)
    with pytest.raises(StoreError, match=r"tables = s3://\w+/x: there is no such bucket"), store.lock("a test"):
        pass
    (tmp_path / "narrows.toml").write_text(f'[store]\ntables = "{s3}-missing/x"\n')
    missing = check_tables.tables(load_settings(tmp_path / "narrows.toml", {}))
    assert (missing.status, "no such bucket" in missing.message) == ("fails", True)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    filesystem.cache_clear()
    try:
        with pytest.raises(StoreError, match="cannot be reached") as refused:
            store.current("events", DAY)
        assert "testing-secret" not in str(refused.value)
    finally:
        filesystem.cache_clear()


def test_doctor_says_whether_a_server_keeps_conditions(address, tmp_path, monkeypatch):
    (tmp_path / "narrows.toml").write_text(f'[store]\ntables = "{address}"\n')
    settings = load_settings(tmp_path / "narrows.toml", {})
    check = check_tables.tables(settings)
    assert (check.status, check.message) == ("ok", f"{address} can be written, and keeps conditions")
    assert keys(address) == []

    def unconditional(objects: Objects, key: str, data: bytes, tag: str | None) -> str:
        objects.fs.pipe_file(objects.path(key), data)
        return "tag"

    monkeypatch.setattr(Objects, "_write", unconditional)
    check = check_tables.tables(settings)
    assert check.status == "fails"
    assert "takes no notice of If-None-Match and If-Match" in check.message
    assert keys(address) == []


# ---------------------------------------------------------------- the whole line


@pytest.mark.slow
def test_the_whole_line_on_s3_makes_the_tables_that_it_makes_in_folders(s3, line: Line, tmp_path):
    import shutil

    import polars as pl

    for file in line.file.parent.glob("*.*"):
        if file.is_file():
            shutil.copy2(file, tmp_path)
    file = tmp_path / line.file.name
    address = f"{s3}/{uuid4().hex}"
    file.write_text(f'{file.read_text()}\n[store]\ntables = "{address}"\n')
    made = run_line(file, world.ASOF)
    there, here = open_at(address, tmp_path / "another machine"), line.runner.store
    for table in sorted(path.name for path in here.root.iterdir() if path.is_dir()):
        assert there.partitions(table) == here.partitions(table)
        for day in here.partitions(table):
            one, other = there.current(table, day), here.current(table, day)
            assert one.version == other.version, (table, day)
            assert {**one.meta, "cost": 0, "made_at": 0, "fence": 0, "notes": 0} == {
                **other.meta, "cost": 0, "made_at": 0, "fence": 0, "notes": 0}  # fmt: skip
            if not table.endswith(".model"):
                assert pl.DataFrame(one.arrow()).equals(pl.DataFrame(other.arrow())), (table, day)
    assert run_line(file, world.ASOF).runner.new_versions == []
    shutil.rmtree(made.runner.settings.state / "cache")
    assert run_line(file, world.ASOF).runner.new_versions == []
    json.dumps(made.table("rank").meta)
