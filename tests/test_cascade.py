"""The whole cascade: over the small world, where the right answers are known, and over ml-100k."""

from __future__ import annotations

import shutil
import subprocess
import sys
from datetime import timedelta

import polars as pl
import pyarrow.compute as pc
import pytest

from narrows.asof import Asof
from narrows.cli.airflow.workflow import ROOT
from narrows.source.delimited import SourceError
from narrows.store.partitions import Store
from tests import world
from tests.fixtures import Line, run_line


def lists(line: Line) -> dict[str, list[str]]:
    rows = (
        line.table("recommendations")
        .arrow(["user_id", "rank", "item_id"])
        .sort_by([("user_id", "ascending"), ("rank", "ascending")])
    )
    found: dict[str, list[str]] = {}
    for row in rows.to_pylist():
        found.setdefault(row["user_id"], []).append(row["item_id"])
    return found


def value(line: Line, kind: str, name: str, metric: str = "recall", k: int = 20, population: str = "all") -> float:
    wanted = {"population": population, "kind": kind, "list": name, "metric": metric, "k": k, "detail": ""}
    return next(r["value"] for r in line.table("evaluation").arrow().to_pylist() if wanted.items() <= r.items())


def test_what_is_certain_is_in_the_lists(line: Line):
    served, week = lists(line), 14
    for household in range(world.HOUSEHOLDS):
        mine = served[f"h{household}"]
        assert world.staples(household) <= set(mine[:12])
        assert world.fortnightlies(household, week) <= set(mine)
    hit = [f"h{n}" for n in range(world.HOUSEHOLDS) if n % 4 and world.hit(week) in served[f"h{n}"]]
    assert len(hit) >= 0.9 * world.HOUSEHOLDS * 3 / 4


def test_what_is_due_stands_before_what_is_not(line: Line):
    """Own counts cannot tell the due fortnightlies from the others; a model that has learned intervals can."""
    served, right, wrong = lists(line), 0, 0
    for household in range(world.HOUSEHOLDS):
        mine = served[f"h{household}"]
        place = {
            item: mine.index(item) if item in mine else 99
            for n in (14, 15)
            for item in world.fortnightlies(household, n)
        }
        for due in world.fortnightlies(household, 14):
            for not_due in world.fortnightlies(household, 15):
                right, wrong = right + (place[due] < place[not_due]), wrong + (place[due] > place[not_due])
    assert right > 9 * wrong


def test_the_list_beats_the_simple_rows_and_no_stage_makes_the_order_worse(line: Line):
    published = value(line, "published", "published")
    rows = line.table("evaluation").arrow().to_pylist()
    simple = [
        r["value"]
        for r in rows
        if r["kind"] in ("baseline", "channel") and (r["population"], r["metric"], r["k"]) == ("all", "recall", 20)
    ]
    assert simple
    assert published > max(simple)
    orders = [value(line, "stage", room) for room in ("recall", "prerank", "rank")]
    assert orders == sorted(orders)


def test_a_user_without_history_and_an_item_without_category_are_served(line: Line):
    served = lists(line)
    assert len(served["quiet"]) >= 10
    recalled = line.table("recall").arrow(["item_id"])["item_id"]
    assert pc.any(pc.is_in(recalled, value_set=pc.unique(pc.cast(["n0", "n1"], "string")))).as_py()


def test_a_second_run_finds_everything(line: Line):
    again = run_line(line.file, line.asof)
    assert again.runner.new_versions == []


@pytest.mark.slow
def test_the_dag_makes_the_tables_that_the_line_without_airflow_makes(line: Line, tmp_path):
    """Every partition that the run in Airflow publishes, the earlier ones included: same version, same rows."""
    for file in line.file.parent.glob("*.*"):
        if file.is_file():
            shutil.copy2(file, tmp_path)  # with its time, which is part of the source's identity
    command = [sys.executable, "-m", "narrows", "--file", tmp_path / line.file.name, "dag", "--asof", str(line.asof)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "published" in done.stdout  # the report
    store = Store(tmp_path / "var" / "tables")
    for folder in sorted(store.root.iterdir()):
        for day in store.partitions(folder.name):
            there, here = store.current(folder.name, day), line.runner.store.current(folder.name, day)
            assert there
            assert here, (folder.name, day)
            assert there.version == here.version, (folder.name, day)
            if not folder.name.endswith(".model"):
                assert pl.DataFrame(there.arrow()).equals(pl.DataFrame(here.arrow())), (folder.name, day)
    assert store.partitions("recommendations") == [line.asof]


def test_a_later_day_learns_from_what_the_earlier_run_really_offered(line: Line):
    """A horizon later the examples read the flow that was published, and remake no past partition."""
    before = line.table("recall").version
    later = run_line(line.file, line.asof + timedelta(days=7), ("events", "user_profiles", "item_profiles", "examples"))
    table = later.table("examples")
    assert table.meta["inputs"]["recall"][str(line.asof)] == before
    assert line.table("recall").version == before


def test_another_future_changes_nothing_of_an_example_but_its_label(line: Line, tmp_path):
    """After the request time other things are taken, by fewer: scores, ranks and features of the examples stay."""
    request = line.asof - timedelta(days=7)
    events = pl.from_arrow(world.events())
    later = events.filter(pl.col("at") >= request.end).sample(fraction=0.7, seed=1)
    later = later.with_columns(pl.col("product").shuffle(seed=2))
    events = pl.concat([events.filter(pl.col("at") < request.end), later])
    rooms = ("events", "user_profiles", "item_profiles", "examples")
    other = run_line(world.write(tmp_path, table=events.to_arrow()), line.asof, rooms)
    one, two = (pl.from_arrow(each.table("examples").arrow()) for each in (line, other))
    key = ["asof", "user_id", "item_id"]
    both = one.join(two, on=key, suffix="_other")
    assert both.height > 800
    changed = {name for name in set(one.columns) - {*key} if not both[name].eq_missing(both[f"{name}_other"]).all()}
    assert changed == {"label", "weight"}


def test_a_source_that_begins_late_has_fewer_windows_or_too_few(line: Line):
    week, windows = timedelta(days=7), line.runner.settings.pipeline_settings.windows
    assert len(line.runner.windows(line.asof)) == windows == 4
    begins = Asof.parse("2024-01-01")
    assert line.runner.windows(begins + 4 * week) == [begins + n * week for n in (1, 2, 3)]
    with pytest.raises(SourceError, match=f"begins with {begins}.*Choose a later as-of"):
        line.runner.room("examples").first_run(line.runner, begins + 3 * week - timedelta(days=1))


@pytest.mark.parametrize("room", ["recall", "prerank", "rank", "rerank"])
def test_the_flow_counts_every_candidate(line: Line, room):
    notes = line.table(room).meta["notes"]
    assert notes["received"] == line.table(room).rows
    assert 0 < notes["kept"] <= notes["received"]
