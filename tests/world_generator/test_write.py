"""Writing a world: the same rows whatever the blocks, files that a run reads, a truth that is loaded again."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from narrows.asof import Asof
from narrows.settings import load_settings
from narrows.source.files import open_source
from narrows.world.settings import World, WorldError
from narrows.world.truth import Truth
from narrows.world.write import rows_expected, write
from stages.events import Events
from tests.world_generator.small import truth

WORLD = World(users=300, items=200, days=14, seed=3, late=0.1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("generated") / "world"
    write(WORLD, place, workers=1)
    return place


def rows(folder: Path, part: str = "log") -> pl.DataFrame:
    frame = pl.read_parquet(folder / part / "*.parquet").with_columns(pl.col("event_type", "context").cast(str))
    return frame.sort("session_id", "event_time", "item_id", "event_type", "position")


@pytest.mark.parametrize(("block", "workers"), [(7, 1), (101, 2)])
def test_the_rows_do_not_depend_on_blocks_or_processes(folder, tmp_path, block, workers):
    done = []
    written = write(WORLD, tmp_path, block_users=block, workers=workers, progress=lambda *at: done.append(at))
    assert rows(tmp_path).equals(rows(folder))
    assert rows(tmp_path, "purchases").equals(rows(folder, "purchases"))
    assert done[-1] == (written.total, WORLD.users)
    assert len(list((tmp_path / "log").iterdir())) == len(done) == -(-WORLD.users // block)
    for name in ("items.parquet", "users.parquet"):
        assert pq.read_table(tmp_path / name).equals(pq.read_table(folder / name))
    for file in sorted((folder / "truth" / "users").iterdir()):
        assert (np.load(tmp_path / "truth" / "users" / file.name) == np.load(file)).all()


def test_another_seed_makes_other_rows(folder, tmp_path):
    write(dataclasses.replace(WORLD, seed=4), tmp_path, workers=1)
    assert not rows(tmp_path).equals(rows(folder))


def test_what_is_written_is_consistent(folder):
    log = rows(folder)
    kinds = log.group_by("event_type").len().sort("len", descending=True)["event_type"].to_list()
    assert kinds == ["impression", "view", "cart", "purchase", "return"]
    assert log.filter(pl.col("event_type") == "impression").group_by("session_id").len()["len"].unique().to_list() == [
        20
    ]
    key = ["session_id", "item_id"]
    for kind, before in (("cart", "view"), ("purchase", "cart"), ("return", "purchase")):
        later = log.filter(pl.col("event_type") == kind)
        earlier = log.filter(pl.col("event_type") == before).select(
            *key, pl.col("event_time").alias("before"), "position"
        )
        pairs = later.join(earlier, [*key, "position"], nulls_equal=True)
        assert len(pairs) == len(later) > 0
        assert (pairs["event_time"] > pairs["before"]).all()
    shown = log.filter(pl.col("position").is_not_null())
    assert shown["propensity"].is_between(0, 1).all()
    assert shown["propensity"].null_count() == 0
    assert set(log.filter(pl.col("position").is_null())["event_type"]) == {"view", "cart", "purchase", "return"}
    late = (log["ingested_at"] - log["event_time"]).dt.total_hours()
    assert late.min() >= 0
    assert late.max() > 24
    assert log["ingested_at"].max() < WORLD.end, "a log has what had arrived by its end"
    born = pl.read_parquet(folder / "items.parquet").select("item_id", "born_day", "available_at")
    since = born["available_at"] - WORLD.begin
    assert (since.dt.total_hours() == born["born_day"].cast(pl.Int64) * 24).all()
    seen = log.join(born, "item_id").with_columns(day=(pl.col("session_id") // 64) % WORLD.days)
    assert (seen["day"] >= seen["born_day"]).all()
    assert rows(folder, "purchases").equals(log.filter(pl.col("event_type") == "purchase"))


def test_the_settings_beside_the_files_read_them(folder):
    settings = load_settings(folder / "narrows.toml", {})
    assert settings.source.name == "files"
    for url in (settings.source.events, settings.source.items, settings.source.users):
        assert list(folder.glob(url))
    users = pl.read_parquet(folder / "users.parquet")
    assert users["user_id"].to_list() == list(range(WORLD.users))
    assert users["segment"].n_unique() == WORLD.categories


def test_a_run_reads_the_purchases_without_a_broken_row(folder, spark):
    source = open_source(load_settings(folder / "narrows.toml", {}))
    made = Events().transform(session=spark, source=source, asof=Asof.parse("2024-01-14"))
    assert made.notes["events"] == len(rows(folder, "purchases"))
    assert made.notes["quarantine"] == {}
    assert (made.notes["begins"], made.notes["ends"]) == ("2024-01-01", "2024-01-14")


def test_the_truth_is_loaded_again(folder):
    loaded, made = Truth.load(folder), truth(WORLD)
    assert loaded.world == WORLD
    lists = made.oracle([1, 250], WORLD.instant(9, 20))
    assert (loaded.oracle([1, 250], WORLD.instant(9, 20)) == lists).all()
    at = WORLD.instant(9, 20)
    assert (loaded.value([1, 250], lists, at).expected == made.value([1, 250], lists, at).expected).all()
    with pytest.raises(WorldError, match="narrows world"):
        Truth.load(folder.parent)


def test_a_world_replaces_a_world_only_by_force_and_nothing_else(folder, tmp_path):
    small = World(users=50, items=100, days=3)
    write(small, tmp_path, block_users=10, workers=1)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(WorldError, match="--force"):
        write(small, tmp_path)
    (tmp_path / ".world-draft").mkdir()
    (tmp_path / ".world-draft" / "left by a kill").touch()
    write(small, tmp_path, force=True, workers=1)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"log", "purchases", "truth", "items.parquet", "users.parquet", "narrows.toml", "notes.txt"}
    assert len(list((tmp_path / "log").iterdir())) == 1, "the files of the replaced world are gone"
    own = tmp_path / "own"
    own.mkdir()
    (own / "narrows.toml").write_text("[store]\n")
    with pytest.raises(WorldError, match="belongs to no generated world"):
        write(small, own, force=True)
    assert (own / "narrows.toml").read_text() == "[store]\n"
    with pytest.raises(WorldError, match="is a file"):
        write(small, tmp_path / "notes.txt")


def test_a_disk_without_room_is_told_before_the_work(tmp_path):
    with pytest.raises(WorldError, match="GB free"):
        write(World(users=10**9, items=1000, days=3000), tmp_path)


def test_the_number_of_rows_is_told_before(folder):
    assert rows_expected(WORLD) == pytest.approx(len(rows(folder)), rel=0.4)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"items": 40, "subcategories": 60}, "subcategories = 60"),
        ({"items": 70, "list_length": 30}, "too few for lists of 30"),
        ({"categories": 61}, "categories = 61"),
        ({"hours": 1.5}, "hours"),
        ({"colour": 1}, "colour"),
    ],
)
def test_wrong_settings_are_refused(wrong, message):
    with pytest.raises(ValidationError, match=message):
        World(**wrong)
