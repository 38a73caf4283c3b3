"""Who may publish on an object store: leases, conditions, races, kills."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from narrows.store.conditional import Changed, Objects
from narrows.store.garbage import garbage_of
from narrows.store.partitions import HOLDER, StoreError
from tests.object_stores import DAY, NEW, OLD, keys, open_at, publish, rows

pytestmark = pytest.mark.usefixtures("not_a_child")


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
    from tests.object_stores import DAY, NEW, open_at, publish

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
