"""A release is written by another process while the next room judges it: the same tables, in the same order, or none."""

from __future__ import annotations

import os
import shutil
import signal
from functools import partial
from pathlib import Path

import pytest

from narrows.asof import Asof
from narrows.engine.cost import Cost
from narrows.run.publish import Draft, Publisher
from narrows.run.runner import Runner
from narrows.serving.gates import GateError
from narrows.settings import load_settings
from narrows.stage import Table
from narrows.store.partitions import Store
from stages.prerank import Prerank
from tests.fixtures import Line
from tests.run.test_what_serves import served
from tests.test_audits import draft, known

ASOF = Asof.parse("2024-01-10")


@pytest.fixture
def two(line: Line, tmp_path: Path) -> tuple[Line, Line]:
    """The finished run in two folders, without its last two rooms' tables and without what serves."""
    made = []
    for name in ("at_once", "meanwhile"):
        shutil.copytree(line.file.parent, tmp_path / name)
        file = tmp_path / name / line.file.name
        for room in ("recommendations", "evaluation"):
            shutil.rmtree(file.parent / "var" / "tables" / room)
        (file.parent / "var" / "recommendations.db").unlink()
        made.append(Line(file, Runner(load_settings(file, {}), overlaps=name == "meanwhile"), line.asof))
    return made[0], made[1]


def test_the_tables_and_what_serves_are_those_of_a_run_that_waits(two: tuple[Line, Line]):
    found = []
    for each in two:
        each.runner.run("recommendations", each.asof)
        if each.runner.overlaps:
            assert each.runner.store.current("recommendations", each.asof) is None, "published before it serves"
        each.runner.run("evaluation", each.asof)
        assert [table.name for table in each.runner.new_versions] == ["recommendations", "evaluation"]
        tables = [each.table(name) for name in ("recommendations", "evaluation")]
        found.append((served(each), [(table.version, table.arrow()) for table in tables]))
        assert tables[0].notes["live"]
        again = Runner(each.runner.settings, overlaps=each.runner.overlaps)
        assert again.run("recommendations", each.asof).version == tables[0].version
        assert not again.new_versions
    assert found[0] == found[1]
    assert found[0][0]


def test_a_room_works_while_what_it_does_not_read_is_audited(line: Line, tmp_path: Path):
    shutil.copytree(line.file.parent, tmp_path / "copy")
    file = tmp_path / "copy" / line.file.name
    rooms = ("user_profiles", "item_profiles")
    for room in rooms:
        shutil.rmtree(file.parent / "var" / "tables" / room)
    runner = Runner(load_settings(file, {}), overlaps=True)
    made = [runner.run(room, line.asof) for room in rooms]
    assert not runner.new_versions, "the second does not read the first, so that both are being audited"
    runner.run("recall", line.asof)  # reads both
    assert {table.name for table in runner.new_versions[:-1]} >= set(rooms)
    for table in made:
        assert runner.store.current(table.name, line.asof).version == table.version
        assert line.table(table.name).version == table.version
    kinds = [table.name for table in runner.new_versions]
    assert kinds.index("user_profiles") < kinds.index("item_profiles"), "in the order in which they were made"


def refused(table: Table, log: Path) -> dict:
    log.write_text(f"{table.rows}")
    raise GateError("not this one")


def killed(table: Table) -> dict:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


@pytest.mark.parametrize(("ends", "error"), [("refused", GateError), ("killed", MemoryError)])
def test_what_is_not_served_is_not_published_nor_is_what_comes_after(ends, error, tmp_path):
    publisher = Publisher(Store(tmp_path / "tables"), tmp_path / "docs", overlaps=True)
    swap = partial(refused, log=tmp_path / "rows") if ends == "refused" else killed
    reads = known(tmp_path / "known")
    for day, swaps in ((10, swap), (11, None)):
        asof, mark = Asof.parse(f"2024-01-{day}"), f"{day}" * 16
        path = publisher.store.draft("prerank", asof, mark)
        (path / "data").rmdir()
        draft(path, [1, 2, 3])
        publisher.audit(Draft(Prerank(), asof, path, mark, "recipe", reads, Cost(), {}, swaps))
        if swaps:
            publisher.finish()
            assert publisher.audited("prerank", asof, mark) is not None
            assert publisher.audited("prerank", asof, "another") is None
    with pytest.raises(error, match=r"not this one|killed"):
        publisher.finish()
    assert publisher.new_versions == []
    assert publisher.store.partitions("prerank") == []
    publisher.settle()  # once is enough
    if ends == "refused":
        assert (tmp_path / "rows").read_text() == "3"
