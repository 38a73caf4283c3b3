"""Examples that one process makes are those that Spark makes, row for row."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from pyspark.sql import functions as F

from narrows.asof import Asof
from stages.examples import here
from stages.examples.assemble import assemble
from tests import world
from tests.fixtures import Line, run_line

TEXTS = ["", "a", "user-1", "ü", "日本語", "x" * 31, "x" * 32, "y" * 10_000]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Line:
    """A log with views, impressions, purchases and returns; of some 30 users a flow sample."""
    few = {"pipeline": {"windows": 4, "shard_users": 10, "flow_users": 30}}
    return run_line(world.write_log(tmp_path_factory.mktemp("shop"), few), world.ASOF)


def test_the_hash_is_that_of_spark(spark):
    rows = [(user, item) for user in TEXTS for item in TEXTS]
    frame = spark.createDataFrame(rows, "user string, item string")
    found = frame.select(F.xxhash64("user", "item", F.lit("2024-03-10"))).collect()
    users, items = zip(*rows, strict=True)
    assert [row[0] % 2**64 for row in found] == here.hashes(users, items, "2024-03-10").tolist()


def test_the_rows_of_a_first_run_and_of_the_run_after_are_those_of_spark(shop: Line, spark, tmp_path):
    """The oldest as-of has recall's candidates alone, the next pre-rank's too, the last those of all rooms."""
    given = inputs(shop)
    assert here.fits(given[0], given[2])
    for name, made in {"spark": assemble(spark, *given), "here": here.Assembled(*given)}.items():
        made.save(tmp_path / name)
    for asof in given[2]:
        found, same = (of(tmp_path / name, asof + shop.runner.horizon) for name in ("spark", "here"))
        assert set(found.columns) == set(same.columns)
        assert found.equals(same.select(found.columns)), asof
        assert set(found["label"]) == {0, 1}
    assert {"rank", "rerank", "prerank", "recall", "exposed"} == set(found["stage_reached"])


def test_what_is_too_much_for_one_process_is_left_to_spark(shop: Line, monkeypatch):
    events, _, flows, *_ = inputs(shop)
    monkeypatch.setattr(here, "MOST_ROWS", 100)
    assert not here.fits(events, flows)
    monkeypatch.undo()
    many = dataclasses.replace(events, meta={**events.meta, "rows": 10**9})
    assert not here.fits(many, flows)


def inputs(line: Line) -> tuple:
    """What `Examples.transform` hands on, for the oldest, the latest window and the run's own as-of."""
    store, horizon = line.runner.store, line.runner.horizon
    windows = [store.partitions("recall")[0], line.asof - horizon, line.asof]
    profiles = {w: tuple(store.current(f"{who}_profiles", w) for who in ("user", "item")) for w in windows}
    flows = {w: tuple(store.current(name, w) for name in ("recall", "prerank", "rank", "rerank")) for w in windows}
    events = store.current("events", line.asof + horizon)
    return events, profiles, flows, line.runner.room("examples"), horizon


def of(folder: Path, asof: Asof) -> pl.DataFrame:
    return pl.DataFrame(pq.read_table(folder / f"asof={asof}", partitioning=None)).sort("user_id", "item_id")
