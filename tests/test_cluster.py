"""The whole line on a standalone cluster of two workers, by configuration alone: the tables of a local run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import polars as pl
import pytest

from bench.standalone import cluster
from narrows.settings import load_settings
from narrows.store.partitions import open_store
from narrows.store.table import Table
from tests import world
from tests.paths import ROOT

pytestmark = pytest.mark.slow
FEW = {"pipeline": {"windows": 4, "shard_users": 10, "flow_users": 30}}
RUN_COLUMNS = ("release_id",)
"""Columns that name the run, not what it found."""


def run(file: Path, root: str, **settings: str) -> dict[tuple[str, str, str], Table]:
    """``narrows run`` with other settings from the environment; every table that it published, side tables too."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "NARROWS_FILE": str(file), "NARROWS_STORE__ROOT": root, **settings}
    command = [sys.executable, "-m", "narrows", "run", "--asof", str(world.ASOF)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    chosen = load_settings(file, {"NARROWS_STORE__ROOT": root})
    store, found = open_store(chosen), {}
    for name in chosen.pipeline.names:
        for asof in store.partitions(name):
            table = store.current(name, asof)
            assert table is not None
            found |= {(name, str(asof), side): table.side(side) for side in table.sides}
            found[name, str(asof), ""] = table
    return found


def rows(table: Table) -> pl.DataFrame:
    frame = pl.DataFrame(pl.from_arrow(table.arrow()))
    return frame.drop(RUN_COLUMNS, strict=False)


def test_every_table_is_that_of_a_local_run(tmp_path):
    file = world.write(tmp_path, FEW)
    local = run(file, "local", NARROWS_SPARK__MASTER="local[2]")
    with cluster(tmp_path / "cluster") as master:
        there = {"NARROWS_SPARK__MASTER": master}
        elsewhere = run(file, "elsewhere", **there)
        narrowed = run(file, "narrowed", **there, NARROWS_ENGINE__NARROW="spark")
        executors = {path.parent.name for path in (tmp_path / "cluster").glob("worker*/app-*")}
    assert executors == {"worker0", "worker1"}
    assert len(local) > 20
    for found in (elsewhere, narrowed):
        assert found.keys() == local.keys()
        for key, table in local.items():
            assert rows(found[key]).equals(rows(table)), key
    last = load_settings(file, {}).pipeline.narrowing[-1]
    [one, _, other] = [tables[last, str(world.ASOF), ""] for tables in (local, elsewhere, narrowed)]
    assert counted(one) == counted(other)
    assert [place.name for _, place in one.files()] == [place.name for _, place in other.files()]


def counted(table) -> dict[str, int]:
    """The users and rows of the fused pass, without its seconds."""
    return {name: number for name, number in table.notes["fused"].items() if not name.startswith("cpu.")}


def test_a_room_of_ones_own_narrows_on_executors(tmp_path):
    """The class lies beside ``narrows.toml``, where no Python process looks by itself."""
    text = (ROOT / "docs" / "add-a-narrowing-room.md").read_text(encoding="utf-8")
    room, rooms = (dedent(code) for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL)[:2])
    file = world.write(tmp_path, {"pipeline": {**FEW["pipeline"], "rooms": "my_company.rooms"}})
    (tmp_path / "my_company").mkdir()
    (tmp_path / "my_company" / "adults.py").write_text(room.replace('"spirits"', '"n"'))
    (tmp_path / "my_company" / "rooms.py").write_text(rooms)
    local = run(file, "local", NARROWS_SPARK__MASTER="local[2]")
    narrowed = run(file, "narrowed", NARROWS_SPARK__MASTER="local[2]", NARROWS_ENGINE__NARROW="spark")
    last = ("rerank", str(world.ASOF), "")
    assert narrowed[last].notes["fused"]["users"] > 30
    assert rows(narrowed[last]).equals(rows(local[last]))
    assert "adults" in {name for name, _, _ in narrowed}


def test_an_executor_that_does_not_see_the_state_folder_ends_the_run_with_the_remedy(tmp_path):
    """The workers run in a mount namespace of their own, where the folder is empty."""
    unshare = shutil.which("unshare")
    shared = tmp_path / "project"
    private = ["unshare", "-m", "true"]
    if not unshare or subprocess.run(private, capture_output=True, check=False).returncode:
        pytest.skip("no mount namespaces here")
    file = world.write(shared, FEW)
    with cluster(tmp_path / "cluster", hidden=shared) as master:
        env = {**os.environ, "PYTHONPATH": str(ROOT), "NARROWS_FILE": str(file)}
        env["NARROWS_SPARK__MASTER"] = master
        command = [sys.executable, "-m", "narrows", "run", "--asof", str(world.ASOF)]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr[-4000:]
    assert "does not see the state folder" in done.stderr
    assert "Traceback" not in done.stderr
