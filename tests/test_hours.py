"""The small world with an hour as grain and horizon, through all ten rooms: in this process, and as a run of the DAG."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta

import polars as pl
import pyarrow.compute as pc
import pytest

from narrows.store.partitions import Store
from tests import world
from tests.fixtures import Line, run_line
from tests.paths import ROOT

HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def hourly(tmp_path_factory: pytest.TempPathFactory) -> Line:
    return run_line(world.write_hours(tmp_path_factory.mktemp("hours")), world.HOURLY)


def test_every_room_makes_its_hour_and_knows_nothing_of_the_next(hourly: Line):
    for name in hourly.runner.pipeline.names:
        assert str(hourly.table(name).asof) == "2024-01-01T13"
    events = hourly.table("events").arrow(["known", "event_time"])
    assert pc.max(events["known"]).as_py() == "2024-01-01T13"
    assert pc.max(events["event_time"]).as_py() < world.HOURLY.end
    users = hourly.table("user_profiles").arrow(["days_since_last_event"])["days_since_last_event"]
    assert 0 <= pc.min(users).as_py() <= pc.max(users).as_py() <= 1 / 24 + 1e-6  # float32


def test_windows_lie_an_hour_apart_and_labels_come_from_the_hour_after(hourly: Line):
    requests = sorted(set(hourly.table("prerank").meta["inputs"]) & {"model"})
    assert requests == ["model"]
    model = hourly.runner.store.current("prerank.model", world.HOURLY)
    assert model
    assert sorted(model.meta["inputs"]["examples"]) == [f"2024-01-01T{hour}" for hour in (10, 11, 12, 13)]
    examples = hourly.table("examples").arrow(["asof", "user_id", "item_id", "label"])
    assert set(examples["asof"].to_pylist()) == {"2024-01-01T12"}
    bought = {(row["household"], row["product"]) for row in world.events(step=HOUR).to_pylist() if row["at"].hour == 13}
    for row in examples.to_pylist():
        assert row["label"] == ((row["user_id"], row["item_id"]) in bought)


def test_lists_serve_and_are_judged_on_the_next_hour(hourly: Line):
    rows = hourly.table("recommendations").arrow()
    assert set(pc.unique(rows["user_id"]).to_pylist()) >= {f"h{n}" for n in range(world.HOUSEHOLDS)}
    assert pc.max(rows["expires_at"]).as_py() == world.HOURLY.end + HOUR + timedelta(hours=24)
    judged = hourly.table("evaluation").arrow().to_pylist()
    users = next(row["users"] for row in judged if (row["kind"], row["metric"]) == ("published", "recall"))
    assert users == world.HOUSEHOLDS


def test_between_refits_the_last_models_narrow(hourly: Line):
    """An hour later, with refit = "1d": lists are made with the models of the hour before, on the new hour's profiles."""
    later = run_line(hourly.file, world.HOURLY + HOUR)
    for name in ("recall", "prerank", "rank"):
        model = later.runner.store.current(f"{name}.model", world.HOURLY)
        assert model
        assert later.table(name).meta["inputs"]["model"] == model.version
        assert later.table(name).meta["inputs"]["user_profiles"] == later.table("user_profiles").version
        assert not later.runner.store.current(f"{name}.model", world.HOURLY + HOUR)
    assert later.table("user_profiles").version != hourly.table("user_profiles").version


@pytest.mark.slow
def test_the_dag_makes_the_tables_of_the_hour(hourly: Line, tmp_path):
    file = world.write_hours(tmp_path)
    for name in (
        "events",
        "items",
        "users",
    ):  # the same files with the same times, which are part of the source's identity
        subprocess.run(["cp", "-p", hourly.file.parent / f"{name}.parquet", tmp_path], check=True)
    command = [sys.executable, "-m", "narrows", "--file", file, "dag", "--asof", "2024-01-01T13"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "as of 2024-01-01T13" in done.stdout
    store = Store(tmp_path / "var" / "tables", HOUR)
    for name in hourly.runner.pipeline.names:
        made = store.current(name, world.HOURLY)
        assert made
        assert made.version == hourly.runner.store.current(name, world.HOURLY).version
        assert pl.DataFrame(made.arrow()).equals(pl.DataFrame(hourly.table(name).arrow())), name
