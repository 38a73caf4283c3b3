"""``show`` and ``takedown`` on a serving database: what they print, and what they refuse in one line."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from serving import ASOF, ITEMS, publish

from narrows.cli.commands import COMMANDS
from narrows.cli.main import main
from narrows.serving import reading, schema
from narrows.serving.gates import GateError
from narrows.store.partitions import Store
from narrows.store.write import write_table

ROOT = Path(__file__).parents[2]


@pytest.fixture
def narrows(tmp_path, monkeypatch, capsys):
    """Runs a command in an empty folder: its exit status, what it printed, and the lines of its errors."""
    monkeypatch.chdir(tmp_path)

    def run(*argv: str) -> tuple[int, str, list[str]]:
        status = main(list(argv))
        printed = capsys.readouterr()
        return status, printed.out, printed.err.splitlines()

    return run


@pytest.fixture
def live(tmp_path):
    """A live release in the state folder, and the item profiles of its catalogue."""
    store, asof = Store(tmp_path / "var" / "tables"), ASOF
    for name, table in {"item_profiles": titled(), "recommendations": pa.table({"user_id": ["u0"]})}.items():
        draft = store.draft(name, asof, "f" * 64)
        write_table(table, draft / "data")
        store.publish(name, asof, draft, {"fingerprint": "f" * 64, "rows": table.num_rows, "notes": {}})
    engine = schema.open_engine(f"sqlite:///{tmp_path}/var/recommendations.db")
    schema.create(engine)
    publish(engine, places={"u0": ["i0", "i1"]})
    yield engine
    engine.dispose()


def titled() -> pa.Table:
    items = ITEMS.append_column("title", pa.array([f"Crème {n}" for n in range(6)]))
    items = pa.concat_tables([items, pa.table({"item_id": ["new"]})], promote_options="default")
    for name in ("category", "subcategory"):
        items = items.append_column(name, pa.nulls(items.num_rows, pa.string()))
    return items


def test_show_prints_the_live_list(narrows, live):
    status, printed, _ = narrows("show", "u0")
    assert status == 0
    assert "Crème 0" in printed
    status, printed, _ = narrows("show", "u0", "--json")
    assert [row["item_id"] for row in json.loads(printed)][:2] == ["i0", "i1"]


def test_show_of_an_unknown_scene_names_the_scenes(narrows, live):
    status, printed, lines = narrows("show", "u0", "--scene", "nope")
    assert (status, printed) == (2, "")
    assert lines == ["narrows: no list is live for scene 'nope'. The scenes are: home"]


def test_show_of_a_scene_whose_every_item_is_taken_down(narrows, live):
    for item in ITEMS["item_id"].to_pylist():
        assert narrows("takedown", item)[0] == 0
    status, printed, _ = narrows("show", "u0")
    assert (status, printed) == (0, "user u0 has no list of their own: the product shows the fallback list\n")


def test_an_ascii_terminal_shows_what_it_can(live, tmp_path):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "narrows", "show", "u0"]
    shown = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "Cr?me 0" in shown.stdout


def test_bars_and_lines_have_plain_characters():
    from narrows.cli.terminal import degrade

    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    degrade(stream)
    print("a ─ ██░ · é", file=stream, flush=True)
    assert stream.buffer.getvalue() == b"a - ##. | ?\n"


def test_a_takedown_before_the_first_release_makes_no_database(narrows, tmp_path):
    for flags in ([], ["--undo"], ["--force"]):
        status, printed, lines = narrows("takedown", "i0", *flags)
        assert (status, printed) == (2, "")
        assert lines == ["narrows: the serving database holds no release yet. Run: narrows run"]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("item", ["i0", "i5", "new"])  # in a list, in a fallback list, in the catalogue alone
def test_a_takedown_and_its_undoing(narrows, live, item):
    status, printed, _ = narrows("takedown", item, "--reason", "recalled")
    assert (status, printed) == (0, f"item {item} is gone from every list; undo: narrows takedown {item} --undo\n")
    assert reading.taken_down(live) == {item: "recalled"}
    assert narrows("takedown", item, "--reason", "recalled by the maker")[0] == 0
    assert narrows("takedown", item, "--undo")[:2] == (0, f"item {item} is back\n")
    status, printed, lines = narrows("takedown", item, "--undo")
    assert (status, printed) == (2, "")
    assert lines == [f"narrows: item {item} is not taken down. Taken down are: none"]


def test_an_unknown_item_is_not_taken_down_unless_forced(narrows, live):
    status, printed, (line,) = narrows("takedown", "typo")
    assert (status, printed) == (2, "")
    assert "no list and no item profile has an item 'typo'" in line
    assert "--force" in line
    assert reading.taken_down(live) == {}
    assert narrows("takedown", "typo", "--force")[0] == 0
    assert reading.taken_down(live) == {"typo": ""}


def test_a_release_that_fails_a_gate_is_one_line(narrows, monkeypatch):
    def fails(*_: object) -> int:
        raise GateError("the release is not published: there are no rows")

    monkeypatch.setitem(COMMANDS, "list", replace(COMMANDS["list"], run=fails))
    assert narrows("list") == (2, "", ["narrows: the release is not published: there are no rows"])
