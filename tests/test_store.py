"""The store: what is published is whole, whatever happens in between; one run at a time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pyarrow as pa
import pytest

from narrows.asof import Asof
from narrows.store.partitions import Store, StoreError
from narrows.store.write import write_table

DAY = Asof.parse("2024-01-01")
OLD, NEW = "a" * 64, "b" * 64


def publish(store: Store, fingerprint: str, rows: list[int], day: Asof = DAY):
    draft = store.draft("events", day, fingerprint)
    write_table(pa.table({"n": rows, "day": [str(day)] * len(rows)}), draft / "data")
    return store.publish("events", day, draft, {"fingerprint": fingerprint, "rows": len(rows)})


def rows(store: Store, day: Asof = DAY) -> list[int]:
    return store.current("events", day).arrow(["n"])["n"].to_pylist()


def python(code: str, *args: object, wait: bool = True, **env: str) -> subprocess.Popen[str]:
    """A child that runs ``code`` with our modules at hand."""
    root = str(Path(__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": root, "NARROWS_LOCK_HOLDER": "", **env}
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, args)],
        env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    if wait:
        child.wait(30)
    return child


def test_publish_find_point(tmp_path):
    store = Store(tmp_path)
    assert store.current("events", DAY) is None
    assert store.find("events", DAY, OLD) is None
    assert store.partitions("events") == []
    made = publish(store, OLD, [1])
    assert (made.version, made.rows, rows(store)) == (OLD[:16], 1, [1])
    publish(store, NEW, [2, 3])
    assert rows(store) == [2, 3]
    assert store.find("events", DAY, OLD).arrow(["n"])["n"].to_pylist() == [1], "older versions stay"
    store.point("events", DAY, OLD)
    assert rows(store) == [1]
    publish(store, OLD, [1], Asof.parse("2024-01-03"))
    assert store.partitions("events") == [DAY, Asof.parse("2024-01-03")]


def test_the_same_fingerprint_published_twice_keeps_the_first(tmp_path):
    store = Store(tmp_path)
    first = publish(store, OLD, [1])
    before = first._folder.stat().st_ino
    publish(store, OLD, [1])
    assert first._folder.stat().st_ino == before
    assert [path.name for path in first._folder.parent.iterdir() if path.is_dir()] == [OLD[:16]], "no draft is left"


def test_stale_drafts_of_any_version_are_removed(tmp_path):
    store = Store(tmp_path)
    for fingerprint in (OLD, NEW):
        (store.draft("events", DAY, fingerprint) / "half").write_text("x")
    other = store.draft("events", Asof.parse("2024-01-02"), OLD)
    assert not list((tmp_path / "events" / str(DAY)).glob(f".draft-{OLD[:16]}*"))
    assert other.exists()
    assert list((other / "data").iterdir()) == []


def test_a_missing_manifest_is_no_version(tmp_path):
    store = Store(tmp_path)
    publish(store, OLD, [1])._folder.joinpath("manifest.json").unlink()
    assert store.current("events", DAY) is None
    assert store.find("events", DAY, OLD) is None
    assert publish(store, OLD, [4]).arrow(["n"])["n"].to_pylist() == [4], "a folder without a manifest is made again"


KILLED = """
    import os, signal, sys
    from narrows.asof import Asof
    from pathlib import Path
    import pyarrow as pa
    from narrows.store import partitions as module
    from narrows.store.partitions import Store
    from narrows.store.write import write_table

    store, where = Store(Path(sys.argv[1])), sys.argv[2]
    die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    if where == "manifest":
        module.write_json = die
    if where == "rename":
        Path.rename = die
    if where == "pointer":
        Store.point = die
    with store.lock("killed"):
        draft = store.draft("events", Asof.parse("2024-01-01"), "b" * 64)
        write_table(pa.table({"n": [2, 3], "day": ["2024-01-01"] * 2}), draft / "data")
        if where == "data":
            die()
        store.publish("events", Asof.parse("2024-01-01"), draft, {"fingerprint": "b" * 64, "rows": 2})
"""


@pytest.mark.parametrize("where", ["data", "manifest", "rename", "pointer"])
def test_a_kill_leaves_the_previous_version_and_the_rerun_heals(tmp_path, where):
    store = Store(tmp_path)
    publish(store, OLD, [1])
    child = python(KILLED, tmp_path, where)
    assert child.returncode == -signal.SIGKILL, child.stderr.read()
    assert rows(store) == [1]
    with store.lock("rerun"):
        if (found := store.find("events", DAY, NEW)) is not None:
            assert where == "pointer"
            store.point("events", DAY, NEW)
            assert found.rows == 2
        else:
            publish(store, NEW, [2, 3])
    assert rows(store) == [2, 3]
    assert not list((tmp_path / "events" / str(DAY)).glob(".draft*"))


FULL = """
    import resource, signal, sys
    from narrows.asof import Asof
    from pathlib import Path
    import numpy as np
    import pyarrow as pa
    from narrows.store.partitions import Store
    from narrows.store.write import write_table

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    store = Store(Path(sys.argv[1]))
    draft = store.draft("events", Asof.parse("2024-01-01"), "b" * 64)
    write_table(pa.table({"n": np.random.default_rng(1).random(1_000_000)}), draft / "data")
    store.publish("events", Asof.parse("2024-01-01"), draft, {"fingerprint": "b" * 64, "rows": 2})
"""


def test_a_full_disk_is_an_error_and_the_previous_version_stays(tmp_path):
    store = Store(tmp_path)
    publish(store, OLD, [1])
    child = python(FULL, tmp_path)
    assert child.returncode == 1
    assert "OSError" in child.stderr.read()
    assert rows(store) == [1]
    publish(store, NEW, [2])
    assert rows(store) == [2]


HOLD = """
    import os, subprocess, sys, time
    from pathlib import Path
    from narrows.store.partitions import Store

    with Store(Path(sys.argv[1])).lock("a long run"):
        if len(sys.argv) > 2:
            sys.exit(subprocess.call([sys.executable, "-c", sys.argv[2], sys.argv[1]]))
        print("held", flush=True)
        time.sleep(60)
"""
TAKE = "import sys; from pathlib import Path; from narrows.store.partitions import Store\nwith Store(Path(sys.argv[1])).lock('a task'): print('in')"


def test_a_second_run_is_refused_with_who_holds_it_until_the_holder_is_gone(tmp_path, caplog):
    holder = python(HOLD, tmp_path, wait=False)
    assert holder.stdout.readline() == "held\n"
    store = Store(tmp_path)
    with pytest.raises(StoreError, match=rf"process {holder.pid} on \S+ \(a long run\)"), store.lock("second"):
        pass
    refused = python(TAKE, tmp_path)
    assert refused.returncode == 1
    assert "a long run" in refused.stderr.read()
    holder.kill()
    holder.wait()
    deadline = time.monotonic() + 10
    while True:  # the kernel lets go when it has buried the holder
        try:
            with store.lock("second"):
                assert json.loads((tmp_path / "LOCK").read_text())["what"] == "second"
            break
        except StoreError:
            assert time.monotonic() < deadline
    assert [record.message for record in caplog.records if "was killed" in record.message]
    caplog.clear()
    with store.lock("third"):
        assert not caplog.records, "the one before ended by itself"


def test_a_child_of_the_holder_passes(tmp_path):
    parent = python(HOLD, tmp_path, TAKE)
    assert parent.returncode == 0, parent.stderr.read()
    assert parent.stdout.read() == "in\n"


def test_the_lock_is_free_after_an_error_and_leaves_no_name(tmp_path, monkeypatch):
    monkeypatch.delenv("NARROWS_LOCK_HOLDER", raising=False)
    store = Store(tmp_path)
    with pytest.raises(ValueError, match="boom"), store.lock("first"):
        raise ValueError("boom")
    assert "NARROWS_LOCK_HOLDER" not in os.environ
    with store.lock("again"):
        pass
    assert (tmp_path / "LOCK").read_text() == ""
