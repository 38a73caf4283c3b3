"""Audits beside the room's work: the same answers, in order, from a process that ends with the one that asks."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from multiprocessing import Pipe
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from narrows.asof import Asof
from narrows.audit.contract import BrokenContract, contract
from narrows.audit.worker import Audits, BackgroundAudits, _serve
from narrows.engine.cost import Cost
from narrows.run.observed import Earlier, of_table
from narrows.run.publish import Draft, Publisher
from narrows.stage import Table
from narrows.store.partitions import Store
from stages.prerank import Prerank

ASOF = Asof.parse("2024-01-10")


def draft(folder: Path, ranks: list[int]) -> Path:
    """A draft of `prerank` with these ranks of one user's items."""
    (folder / "data").mkdir(parents=True)
    rows = {
        "user_id": ["u"] * len(ranks), "item_id": [f"i{n}" for n in range(len(ranks))],
        "recall_score": pa.array([1.0] * len(ranks), pa.float32()), "recall_rank": pa.array(ranks, pa.int32()),
        "prerank_score": pa.array([1.0] * len(ranks), pa.float32()), "prerank_rank": pa.array(ranks, pa.int32()),
        "kept": [True] * len(ranks), "reason": pa.nulls(len(ranks), pa.string()),
    }  # fmt: skip
    pq.write_table(pa.table(rows), folder / "data" / "part-00000.parquet")
    return folder


@pytest.mark.parametrize("kind", [Audits, BackgroundAudits])
def test_answers_come_in_the_order_of_asking(kind, tmp_path):
    audits = kind()
    good, bad = draft(tmp_path / "good", [1, 2, 3]), draft(tmp_path / "bad", [1, -2, 3])
    for folder, version in ((good, "a"), (bad, "b"), (good, "c")):
        audits.ask("prerank", contract(Prerank), folder / "data", tmp_path / "docs", version, str(ASOF), {"n": 20})
    audits.ask("prerank", contract(Prerank), tmp_path / "nothing", tmp_path / "docs", "d", str(ASOF), {})
    answers = [audits.answer() for _ in range(3)]
    assert [(found.version, found.success) for found in answers] == [("a", True), ("b", False), ("c", True)]
    assert any("prerank_rank" in line for line in answers[1].failed)
    assert all(Path(found.page).exists() for found in answers)
    with pytest.raises(FileNotFoundError):  # what goes wrong there is raised here
        audits.answer()
    if isinstance(audits, BackgroundAudits):
        audits.process.kill()
        with pytest.raises(RuntimeError, match="run again"):
            audits.answer()


def test_the_process_ends_with_the_one_that_asks():
    code = (
        "from narrows.audit.worker import BackgroundAudits\nimport sys, time\n"
        "if __name__ == '__main__':\n    print(BackgroundAudits().process.pid, flush=True)\n    time.sleep(60)"
    )
    asks = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert asks.stdout
    other = psutil.Process(int(asks.stdout.readline()))
    asks.kill()
    asks.wait()
    for _ in range(200):
        if not other.is_running() or other.status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.1)
    raise AssertionError("it still runs")


@pytest.mark.parametrize("unread", [False, True])
def test_the_process_ends_quietly_where_nobody_waits_for_its_answer(unread, tmp_path, monkeypatch):
    monkeypatch.setattr("signal.signal", lambda *_: None)
    here, there = Pipe()
    if unread:
        there.send("an answer that nobody reads")  # the connection is then reset rather than closed
    else:
        folder = draft(tmp_path / "good", [1, 2]) / "data"
        here.send(("prerank", contract(Prerank), folder, tmp_path / "docs", "a", str(ASOF), {}))
    here.close()
    _serve(there)


def known(folder: Path) -> dict[str, Table]:
    """The tables that `prerank` reads, of one user and a few items."""
    ids = {"user_profiles": {"user_id": ["u"]}, "item_profiles": {"item_id": [f"i{n}" for n in range(30)]}}
    for name, column in ids.items():
        (folder / name / "data").mkdir(parents=True)
        pq.write_table(pa.table(column), folder / name / "data" / "part-00000.parquet")
    return {name: Table(name, ASOF, "v", folder / name, {}) for name in ids}


def asking(publisher: Publisher, folder: Path):
    """What has the audit of a draft made: of its day and the ranks of one user's items."""
    reads = known(folder / "known")

    def ask(day: int, ranks: list[int]) -> None:
        asof, mark = Asof.parse(f"2024-01-{day:02d}"), f"{day}{len(ranks)}" * 16
        path = publisher.store.draft("prerank", asof, mark)
        (path / "data").rmdir()
        draft(path, ranks)
        publisher.audit(Draft(Prerank(), asof, path, mark, "recipe", reads, Cost(), {}))

    return ask


@pytest.mark.parametrize("in_background", [False, True])
def test_a_broken_draft_stops_itself_and_the_later_ones_and_the_publisher_goes_on(in_background, tmp_path):
    store = Store(tmp_path / "tables")
    publisher = Publisher(store, tmp_path / "docs", in_background=in_background)
    ask = asking(publisher, tmp_path)
    for day, ranks in ((1, [1, 2]), (2, [1, -2]), (3, [1, 2])):
        ask(day, ranks)
    assert list(publisher.finish(but=2)) == [Asof.parse("2024-01-01")]
    with pytest.raises(BrokenContract, match="prerank_rank"):
        publisher.finish()
    assert store.partitions("prerank") == [Asof.parse("2024-01-01")]
    for day in (2, 3):
        ask(day, [1, 2, 3])
    assert list(publisher.finish()) == [Asof.parse("2024-01-02"), Asof.parse("2024-01-03")]
    assert [table.rows for table in publisher.new_versions] == [2, 3, 3]


ALARM = list(range(1, 25))
"""Ranks of so many items that their equal scores are an alarm."""


@pytest.mark.parametrize("given", [{"force": True}, {"asof": Asof.parse("2024-01-09")}])
def test_an_alarm_stops_the_run_s_own_partition_unless_it_is_forced(given, tmp_path):
    strict = Publisher(Store(tmp_path / "strict"), tmp_path / "docs", asof=ASOF)
    asking(strict, tmp_path / "a")(10, ALARM)
    with pytest.raises(BrokenContract, match=r"distinct\(prerank_score\).*(\n.*)*--force"):
        strict.finish()
    assert strict.store.partitions("prerank") == []
    lenient = Publisher(Store(tmp_path / "lenient"), tmp_path / "docs", **given)
    asking(lenient, tmp_path / "b")(10, ALARM)
    (table,) = lenient.finish().values()
    assert "distinct(prerank_score)" in table.meta["warnings"][0]


def test_a_partition_keeps_what_later_ones_are_compared_with(tmp_path):
    store = Store(tmp_path / "tables")
    ask = asking(publisher := Publisher(store, tmp_path / "docs"), tmp_path)
    ask(9, [1, 2, 3])
    publisher.finish()
    table = store.current("prerank", Asof.parse("2024-01-09"))
    assert table.meta["warnings"] == []
    assert set(table.meta["observations"]["prerank"]) == {"drift(prerank_score)"}
    draft = Draft(Prerank(), ASOF, tmp_path, "m", "recipe", {"table": table, "past": {}}, Cost(), {})
    around = Earlier(store).around(draft)
    assert list(around.earlier) == [Asof.parse("2024-01-09")]
    assert around.previous.asof == Asof.parse("2024-01-09")
    assert of_table(around, "prerank").earlier == {Asof.parse("2024-01-09"): table.meta["observations"]["prerank"]}
    assert list(around.tables) == ["table"]
    other = replace(draft, room=Prerank(n=7))  # of other settings nothing is compared
    assert not Earlier(store).around(other).earlier
