"""``show`` and ``takedown`` on a serving database: what they print, and what they refuse in one line."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
import sqlalchemy as sa
from serving import ASOF, ITEMS, MADE, publish

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
    assert [row["item_id"] for row in json.loads(printed)["rows"]][:2] == ["i0", "i1"]
    assert json.loads(printed)["rows"][0]["title"] == "Crème 0"


def header(narrows, *argv: str) -> list[str]:
    """The lines of ``show`` above the list."""
    status, printed, _ = narrows("show", *argv)
    assert status == 0
    return printed.split("\n      item")[0].splitlines()


def test_the_header_of_a_short_list(narrows, live):
    first, *rest = header(narrows, "u0")
    assert re.fullmatch(r"release r1 · as of 2017-11-30 · live since \d{4}-\d\d-\d\d \d\d:\d\d UTC", first)
    assert " ".join(rest) == (
        "scene home · user u0 · 2 items of their own list, then 4 items of the fallback list for segment young, "
        "then for everyone · a replay, does not expire"
    )
    assert header(narrows, "u0", "--n", "2")[1] == (
        "scene home · user u0 · 2 items of their own list · a replay, does not expire"
    )


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["nobody", "--n", "3"], "not known to this release, so 3 items of the fallback list for everyone"),
        (
            ["nobody", "--n", "3", "--segment", "young"],
            "not known to this release, so 3 items of the fallback list for segment young",
        ),
        (["nobody", "--n", "1"], "not known to this release, so 1 item of the fallback list for everyone"),
    ],
)
def test_the_header_of_a_user_that_the_release_does_not_know(narrows, live, argv, says):
    assert " ".join(header(narrows, *argv)[1:]) == f"scene home · user nobody · {says}"
    facts = json.loads(narrows("show", *argv, "--json")[1])
    assert (facts["known"], facts["own_items"], facts["fallback_items"]) == (False, 0, len(facts["rows"]))
    assert {row["is_fallback"] for row in facts["rows"]} == {True}


def test_the_header_of_an_expired_list_and_of_one_that_is_taken_down(narrows, live):
    reading.takedown(live, "i0", "", MADE)
    reading.takedown(live, "i1", "", MADE)
    assert "every item of their list is taken down, so 4 items of the fallback list" in header(narrows, "u0")[1]
    reading.put_back(live, "i0")
    with live.begin() as connection:
        connection.execute(sa.update(schema.release).values(serves_at=None))
    lines = " ".join(header(narrows, "u0", "--n", "3"))
    assert "their list expired on 2017-12-08 00:00 UTC, so 3 items of the fallback list for segment young" in lines
    facts = json.loads(narrows("show", "u0", "--json")[1])
    assert (facts["known"], facts["expired"], facts["own_items"]) == (True, True, 0)


@pytest.mark.parametrize("width", [80, 100])
def test_a_list_fits_the_terminal_and_marks_what_it_cuts(width):
    from narrows.cli.lists import show

    row = {"item_id": "i" * 30, "title": "t" * 90, "score": 0.5, "propensity": 1.0, "reason": "r" * 30, "rank": 20}
    row |= {"is_fallback": False, "segment": None}
    facts = {
        "user_id": "u",
        "scene": "home",
        "release_id": "r",
        "asof": "2017-11-30",
        "live_since": None,
        "rows": [row],
    }
    facts |= {"created_at": MADE, "known": True, "expired": False, "expires_at": MADE, "never_expires": False}
    block = show.block(facts | {"items": 1, "own_items": 1, "fallback_items": 0}, width)
    lines = "\n".join(block.lines()).splitlines()
    assert all(len(line) <= width for line in lines)
    assert lines[-1].count("…") == 3
    assert lines[0] == "release r · as of 2017-11-30 · made 2017-12-01 03:00 UTC"
    assert lines[1] == "scene home · user u · 1 item of their own list · expires 2017-12-01 03:00 UTC"


def test_show_of_an_unknown_scene_names_the_scenes(narrows, live):
    status, printed, lines = narrows("show", "u0", "--scene", "nope")
    assert (status, printed) == (2, "")
    assert lines == ["narrows: no list is live for scene 'nope'. The scenes are: home"]


def test_show_of_a_scene_whose_every_item_is_taken_down(narrows, live):
    for item in ITEMS["item_id"].to_pylist():
        assert narrows("takedown", item)[0] == 0
    status, printed, _ = narrows("show", "u0")
    assert status == 0
    assert printed.splitlines()[1] == "scene home · user u0 · nothing to show: every item of the lists is taken down"


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
    again = json.loads(narrows("takedown", item, "--json")[1])
    assert again == {"item_id": item, "taken_down": True, "reason": ""}
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
