"""Rooms from outside the package, as docs/add-a-table-room.md and docs/add-a-narrowing-room.md show them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pyarrow.compute as pc
import pytest

from narrows.cli.main import main
from narrows.pipeline import Pipeline, PipelineError
from narrows.stage import NarrowingStage, Table, TableStage
from stages import PIPELINE
from tests import world
from tests.fixtures import Line, run_line
from tests.outside import ROOT, forgotten

BLOCK = re.compile(r"^   ```python\n(.*?)^   ```", re.MULTILINE | re.DOTALL)
ROOMS = """
from my_company.adults import Adults
from my_company.baskets import Baskets
from stages import PIPELINE as STANDARD

at = [room.name for room in STANDARD].index("rerank")
PIPELINE = (*STANDARD[:1], Baskets, *STANDARD[1:at], Adults, *STANDARD[at:])
"""


def blocks(page: str) -> list[str]:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return [re.sub(r"^   ", "", block, flags=re.MULTILINE) for block in BLOCK.findall(text)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder: the small world, and a package with two rooms and a list."""
    folder = tmp_path_factory.mktemp("own")
    rooms = {"pipeline": {"windows": 4, "rooms": "my_company.rooms"}, "adults": {"category": "a"}}
    world.write(folder, rooms)
    package = folder / "my_company"
    package.mkdir()
    for name, page in (("baskets", "add-a-table-room.md"), ("adults", "add-a-narrowing-room.md")):
        (package / f"{name}.py").write_text(blocks(page)[0])
    (package / "rooms.py").write_text(ROOMS)
    return folder


@pytest.fixture(scope="module")
def own(folder: Path) -> Line:
    """The cascade with both rooms, run once."""
    with forgotten():
        yield run_line(folder / "narrows.toml", world.ASOF)


@pytest.mark.parametrize("page", ["add-a-table-room.md", "add-a-narrowing-room.md"])
def test_the_list_of_the_page_is_a_pipeline(folder, page):
    with forgotten():
        sys.path.insert(0, str(folder))
        scope: dict[str, object] = {}
        exec(blocks(page)[1], scope)
        assert len(Pipeline.of(scope["PIPELINE"]).names) == len(PIPELINE) + 1  # type: ignore[arg-type]


def test_a_table_room_has_its_table_settings_and_place(own: Line):
    assert own.runner.pipeline.upstream("baskets") == {"events"}
    table = own.table("baskets")
    assert table.notes["users"] == table.rows == world.HOUSEHOLDS
    assert min(table.arrow()["mean_items"].to_pylist()) > 5
    assert table.meta["settings"] == {"min_sessions": 2}


def test_a_narrowing_room_stands_in_the_cascade_the_ledger_and_the_report(own: Line, capsys):
    assert own.runner.pipeline.before("rerank") == "adults"
    received = own.table("rank").arrow(["item_id"], pc.field("kept"))
    rows = own.table("adults").arrow(["user_id", "item_id", "kept", "reason"])
    assert rows.num_rows == received.num_rows
    removed = rows.filter(pc.invert(rows["kept"]))
    assert removed.num_rows
    assert set(removed["reason"].to_pylist()) == {"category"}
    assert {item[0] for item in removed["item_id"].to_pylist()} == {"a"}
    assert "a" not in {item[0] for item in own.table("recommendations").arrow(["item_id"])["item_id"].to_pylist()}
    judged = {
        (row["kind"], row["list"], row["metric"], row["detail"]) for row in own.table("evaluation").arrow().to_pylist()
    }
    assert ("ledger", "adults", "count", "category") in judged
    assert ("flow", "adults", "survival", "") in judged
    with forgotten():
        assert main(["--file", str(own.file), "report", "--asof", str(own.asof)]) == 0
        assert (
            main(["--file", str(own.file), "why", *removed.select(["user_id", "item_id"]).to_pylist()[0].values()]) == 0
        )
    printed = capsys.readouterr().out
    assert re.search(r"^adults +[\d,]+ +[\d,]+", printed, re.MULTILINE)
    assert "adults" in printed.split("narrows why")[-1]


def test_the_dag_has_a_task_for_each_room(folder):
    code = (
        "from airflow.dag_processing.dagbag import DagBag\n"
        "from narrows.cli.airflow.workflow import DAGS\n"
        "dag = DagBag(DAGS).dags['daily']\n"
        "print(*[task.task_id for task in dag.tasks], sorted(dag.get_task('rerank').upstream_task_ids))"
    )
    from narrows.cli.airflow.workflow import environment

    env = {**environment(folder / "airflow"), "NARROWS_FILE": str(folder / "narrows.toml")}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, cwd=os.getcwd())
    assert done.returncode == 0, done.stderr
    printed = done.stdout.strip().splitlines()[-1]
    assert printed.startswith("events baskets user_profiles item_profiles examples recall prerank rank adults rerank")
    assert "adults" in printed.split("[")[1]


@pytest.mark.parametrize(
    ("rooms", "message"),
    [
        ((), "PIPELINE is missing or empty"),
        ((*PIPELINE, PIPELINE[0]), "two rooms are called 'events'"),
        (PIPELINE[1:], "room 'user_profiles' reads 'events', which no room makes"),
        ((PIPELINE[1], PIPELINE[0], *PIPELINE[2:]), "room 'user_profiles' reads 'events', which a later room makes"),
        ((TableStage,), "is no room"),
        (("events",), "is no room"),
    ],
)
def test_a_list_that_cannot_run_says_why(rooms, message):
    with pytest.raises(PipelineError, match=message):
        Pipeline.of(rooms)


def test_a_room_needs_to_be_there():
    with pytest.raises(PipelineError, match="no room is called 'kitchen'; the rooms are events"):
        Pipeline.of(PIPELINE).room("kitchen")
    assert issubclass(Pipeline.of(PIPELINE).room("rank"), NarrowingStage)
    assert Table
