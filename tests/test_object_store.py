"""Tables on an object store: a real S3 interface (moto's server), and fsspec's memory and files, by the same tests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from narrows.asof import Asof
from narrows.cli import check_tables
from narrows.settings import SettingsError, load_settings
from narrows.store.conditional import Changed, Objects, filesystem
from narrows.store.garbage import garbage_of
from narrows.store.objects import ObjectStore
from narrows.store.partitions import HOLDER, Store, StoreError, open_store, open_tables
from narrows.store.write import write_table
from tests import world
from tests.fixtures import Line, run_line

DAY = Asof.parse("2024-01-01")
WEEK = timedelta(days=7)
OLD, NEW = "a" * 64, "b" * 64
S3 = "needs s3fs and moto's server: pip install -e '.[dev]' -c constraints.txt"
BUCKET = "tables"


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """The address of a bucket of a server in this process, which answers one request after the other, as atomic as S3."""
    pytest.importorskip("s3fs", reason=S3)
    app = pytest.importorskip("moto.server", reason=S3)
    from werkzeug.serving import make_server

    server = make_server("127.0.0.1", 0, app.DomainDispatcherApplication(app.create_backend_app))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    environment = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}",
        "AWS_ACCESS_KEY_ID": "testing-key",
        "AWS_SECRET_ACCESS_KEY": "testing-secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "NO_PROXY": "127.0.0.1",
    }
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    filesystem.cache_clear()
    filesystem("s3").mkdir(BUCKET)
    yield f"s3://{BUCKET}"
    server.shutdown()
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})
    filesystem.cache_clear()


@pytest.fixture(params=["s3", "file", "memory"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A place for tables that nobody else uses."""
    prefix = uuid4().hex
    if request.param == "s3":
        return f"{request.getfixturevalue('s3')}/{prefix}"
    return f"file://{tmp_path}/bucket/{prefix}" if request.param == "file" else f"memory://{prefix}"


@pytest.fixture(autouse=True)
def not_a_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(HOLDER, raising=False)


def open_at(address: str, here: Path, seconds: float = 30) -> ObjectStore:
    """The tables at an address, as a machine with its own state folder has them."""
    store = open_tables(address, here)
    assert isinstance(store, ObjectStore)
    return ObjectStore(store.root, store.grain, address, lease_seconds=seconds)


def publish(store: Store, fingerprint: str, rows: list[int], day: Asof = DAY, earlier=None, **meta: object):
    draft = store.draft("events", day, fingerprint)
    write_table(pa.table({"n": rows}), draft / "data" / f"known={day}")
    write_table(pa.table({"id": [1]}), draft / "items")
    for file, place in earlier.files() if earlier else ():
        (draft / "data" / place).parent.mkdir()
        os.link(file, draft / "data" / place)
    return store.publish("events", day, draft, {"fingerprint": fingerprint, "rows": len(rows), **meta})


def rows(store: Store, day: Asof = DAY) -> list[int]:
    return store.current("events", day).arrow(["n"])["n"].to_pylist()


def keys(address: str) -> list[str]:
    """Every object at an address."""
    objects = Objects(address)
    root = objects.path("").rstrip("/")
    return sorted(path[len(root) + 1 :] for path in objects.fs.find(root) if not path.endswith(".lock"))


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


# ---------------------------------------------------------------- who may publish


def test_a_second_run_is_refused_while_the_first_holds_the_lease_and_its_child_passes(address, tmp_path, monkeypatch):
    one, two = open_at(address, tmp_path / "one"), open_at(address, tmp_path / "two")
    with one.lock("a long run"):
        child = open_at(address, tmp_path / "one")
        with child.lock("its task"):
            publish(child, OLD, [1])
        monkeypatch.delenv(HOLDER)
        said = rf"process {os.getpid()} on \S+ \(a long run\)\. Wait .* its lease ends \d+ s from now unless"
        with pytest.raises(StoreError, match=said), two.lock("second"):
            pass
    with two.lock("second"):
        publish(two, NEW, [2])
    assert rows(one) == [2]


def test_nothing_is_published_without_the_lease(address, tmp_path):
    with pytest.raises(StoreError, match="without its lease"):
        publish(open_at(address, tmp_path), OLD, [1])
    assert keys(address) == []


def test_a_lease_that_ended_is_taken_over_and_the_old_holder_publishes_nothing(address, tmp_path, monkeypatch):
    late, next_one = open_at(address, tmp_path / "late", 0.2), open_at(address, tmp_path / "next")
    with late.lock("a run that was suspended"):
        publish(late, OLD, [1])
        asleep = late.lease
        asleep._stop.set()  # it renews nothing, as a suspended process
        asleep._renewing.join()
        monkeypatch.delenv(HOLDER)
        time.sleep(0.3)
        with next_one.lock("the next run"):
            assert next_one.lease.number == asleep.number + 1
            with pytest.raises(StoreError, match=r"was taken over by process \d+ on \S+ \(the next run\)"):
                publish(late, NEW, [2])
            with pytest.raises(StoreError, match="Nothing was published"):
                late.point("events", DAY, NEW)
            publish(next_one, NEW, [3])
    assert rows(late) == [3]
    with next_one.lock("again"):
        assert next_one.lease.number == 3


def test_a_lease_is_renewed_as_long_as_its_holder_lives(address, tmp_path, monkeypatch):
    one, two = open_at(address, tmp_path / "one", 0.6), open_at(address, tmp_path / "two")
    with one.lock("a long run"):
        time.sleep(1.5)
        monkeypatch.delenv(HOLDER)
        with pytest.raises(StoreError, match="another run holds"), two.lock("second"):
            pass
        publish(one, OLD, [1])


@pytest.mark.parametrize("number", [1, 5])
def test_of_two_writers_of_one_pointer_one_loses_with_a_line(address, tmp_path, monkeypatch, number):
    """The worst case: the other took the lease over after the last look at it, and publishes between read and write."""
    store = open_at(address, tmp_path)
    with store.lock("a test"):
        publish(store, OLD, [1])
        real = Objects.read

        def read(objects: Objects, key: str):
            found = real(objects, key)
            if key == f"events/current/{DAY}.json":
                monkeypatch.setattr(Objects, "read", real)
                objects.write(key, {"version": "c" * 16, "fence": number}, found[1])
            return found

        monkeypatch.setattr(Objects, "read", read)
        with pytest.raises(
            StoreError, match=f"another run published events as of {DAY} on .* meanwhile: its version stands"
        ):
            publish(store, NEW, [2])
        with pytest.raises(StoreError) if number > store.lease.number else pytest.MonkeyPatch.context():
            store.point("events", DAY, NEW)  # told by the number, though nobody came between


def test_conditional_writes(address):
    objects = Objects(address)
    assert objects.read("a.json") is None
    tag = objects.write("a.json", {"n": 1})
    assert objects.read("a.json") == ({"n": 1}, tag)
    with pytest.raises(Changed):
        objects.write("a.json", {"n": 2})
    newer = objects.write("a.json", {"n": 2}, tag)
    with pytest.raises(Changed):
        objects.write("a.json", {"n": 3}, tag)
    with pytest.raises(Changed):
        objects.write("b.json", {"n": 3}, tag)
    assert objects.read("a.json") == ({"n": 2}, newer)


TAKE = """
    import sys, time
    from narrows.store.partitions import open_tables, StoreError
    from pathlib import Path
    store = open_tables(sys.argv[1], Path(sys.argv[2]))
    while time.time() < float(sys.argv[3]):
        pass
    try:
        with store.lock("racer"):
            print("held", flush=True)
            time.sleep(5)
    except StoreError as error:
        print(error, flush=True)
"""


def python(code: str, *args: object) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), HOLDER: ""}
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, args)],
        env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def test_of_processes_that_race_for_the_lease_one_holds_it_and_the_others_say_who(s3, tmp_path):
    address, start = f"{s3}/{uuid4().hex}", time.time() + 4
    racers = [python(TAKE, address, tmp_path / str(n), start) for n in range(3)]
    said = [racer.communicate(timeout=60) for racer in racers]
    assert sorted(out.startswith("held") for out, _ in said) == [False, False, True], said
    held = next(racer.pid for racer, (out, _) in zip(racers, said, strict=True) if out.startswith("held"))
    assert all(f"process {held} on" in out for out, _ in said if not out.startswith("held"))


KILLED = """
    import os, signal, sys
    from pathlib import Path
    from narrows.asof import Asof
    from narrows.store.conditional import Objects
    from narrows.store.objects import ObjectStore
    from tests.test_object_store import DAY, NEW, open_at, publish

    die, where, write = lambda *_: os.kill(os.getpid(), signal.SIGKILL), sys.argv[3], Objects.write
    dies = {"data": "manifest.json", "pointer": f"current/{DAY}.json"}[where]
    Objects.write = lambda objects, key, *about: die() if key.endswith(dies) else write(objects, key, *about)
    store = open_at(sys.argv[1], Path(sys.argv[2]), 3)
    with store.lock("killed"):
        publish(store, NEW, [2, 3])
"""


@pytest.mark.parametrize("where", ["data", "pointer"])
def test_a_kill_between_the_data_and_the_pointer_leaves_the_previous_version_and_the_rerun_heals(s3, tmp_path, where):
    address = f"{s3}/{uuid4().hex}"
    store = open_at(address, tmp_path / "here")
    with store.lock("before"):
        publish(store, OLD, [1])
    child = python(KILLED, address, tmp_path / "here", where)
    _, error = child.communicate(timeout=120)
    assert child.returncode == -signal.SIGKILL, error
    assert rows(store) == rows(open_at(address, tmp_path / "there")) == [1]
    with pytest.raises(StoreError, match=rf"process {child.pid} on \S+ \(killed\)"), store.lock("too early"):
        pass
    deadline = time.monotonic() + 20
    while True:
        try:
            with store.lock("rerun"):
                found = store.find("events", DAY, NEW)
                assert (found is not None) == (where == "pointer")
                if found:
                    store.point("events", DAY, NEW)
                else:
                    publish(store, NEW, [2, 3])
            break
        except StoreError:
            assert time.monotonic() < deadline
            time.sleep(0.2)
    assert rows(store) == rows(open_at(address, tmp_path / "there")) == [2, 3]
    with store.lock("gc"):
        gc = garbage_of(store, timedelta())
        left = gc.leftovers({NEW[:16], OLD[:16]})
        assert len(left) == (2 if where == "data" else 0), "what the killed one uploaded"
        gc.remove(left)
        assert garbage_of(store, timedelta()).leftovers({NEW[:16], OLD[:16]}) == []
    assert rows(open_at(address, tmp_path / "fresh")) == [2, 3]


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
