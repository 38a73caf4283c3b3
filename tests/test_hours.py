"""The small world with an hour as grain and horizon, through all ten rooms: in this process, and as a run of the DAG."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from narrows.run import touched
from narrows.serving import reading, schema
from narrows.store.partitions import Store
from tests import world
from tests.fixtures import Line, run_line
from tests.paths import ROOT

HOUR = timedelta(hours=1)
ABSENT = {f"h{n}" for n in range(70, 80)}


@pytest.fixture(scope="module")
def hourly(tmp_path_factory: pytest.TempPathFactory) -> Line:
    return run_line(written(tmp_path_factory.mktemp("hours")), world.HOURLY)


def written(folder: Path) -> Path:
    """The world in hours; in the hour after the run's, ten households take nothing. Everybody gets a list once a day."""
    file = world.write_hours(folder)
    events = pq.read_table(folder / "events.parquet")
    absent = pc.is_in(events["household"], value_set=pa.array(sorted(ABSENT)))
    late = pc.greater_equal(events["at"].cast(pa.timestamp("us")), pa.scalar(world.HOURLY.end.replace(tzinfo=None)))
    pq.write_table(events.filter(pc.invert(pc.and_(absent, late))), folder / "events.parquet")
    file.write_text(file.read_text() + '\n[recommendations]\neverybody = "1d"\n')
    return file


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
    assert users == world.HOUSEHOLDS - len(ABSENT)


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


def test_between_the_lists_of_everybody_touched_users_alone_get_new_ones(hourly: Line):
    hour = world.HOURLY + HOUR
    later = run_line(hourly.file, hour)
    narrowed = set(pc.unique(later.table("rerank").arrow(["user_id"])["user_id"]).to_pylist())
    assert narrowed == {f"h{n}" for n in range(world.HOUSEHOLDS)} - ABSENT
    rows = later.table("recommendations").arrow(["user_id", "batch_id", "release_id", "expires_at"])
    batches = {row["user_id"]: row["batch_id"] for row in rows.to_pylist()}
    first = {row["user_id"] for row in hourly.table("recommendations").arrow(["user_id"]).to_pylist()}
    assert batches == {user: str(hour if user in narrowed else world.HOURLY) for user in first | narrowed}
    release = hourly.table("recommendations").notes["release_id"]
    assert pc.unique(rows["release_id"]).to_pylist() == [release]
    engine = schema.open_engine(later.runner.settings.serving_url)
    with engine.connect() as connection:
        served = connection.execute(sa.select(schema.recommendation.c.user_id, schema.recommendation.c.batch_id)).all()
    assert {(row.user_id, row.batch_id) for row in served} == set(batches.items())
    live = reading.live(engine)
    assert live
    assert (live["release_id"], live["asof"]) == (release, str(hour))
    again = run_line(hourly.file, hour)
    assert not again.runner.new_versions


def test_after_a_day_everybody_gets_a_new_list(hourly: Line):
    assert touched.since(hourly.runner, world.HOURLY + timedelta(hours=23)) is not None
    assert touched.since(hourly.runner, world.HOURLY + timedelta(hours=24)) is None
    assert touched.since(hourly.runner, world.HOURLY) is None


@pytest.mark.slow
def test_the_dag_makes_the_tables_of_the_hour(hourly: Line, tmp_path):
    file = written(tmp_path)
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
