"""The flow sample: who is in it and with which weight; fused lists equal staged ones."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from narrows import sampling
from narrows.cli.lists import explain
from narrows.columns import REQUEST_WEIGHT, USER
from narrows.reasons import of_rooms
from narrows.run import fused
from narrows.run.narrowing import user_shards
from narrows.run.requests import audience
from narrows.run.runner import Runner
from narrows.stage import Table
from narrows.store.table import REQUESTS
from tests.fixtures import Line

FLOW_USERS = 30


def frame(table: Table | pa.Table) -> pl.DataFrame:
    rows = pl.from_arrow(table if isinstance(table, pa.Table) else table.arrow())
    assert isinstance(rows, pl.DataFrame)
    return rows


def sample(line: Line, room: str = "recall") -> pl.DataFrame:
    return frame(line.table(room).side(REQUESTS))


def test_a_hash_is_uniform_and_of_the_text_and_the_salt_alone():
    texts = [f"user {n}" for n in range(20_000)]
    values = sampling.uniform(texts)
    assert (sampling.uniform(texts[5:7]) == values[5:7]).all()
    assert abs(values.mean() - 0.5) < 0.01
    assert abs(values.var() - 1 / 12) < 0.002
    assert abs(np.corrcoef(values, sampling.uniform(texts, "list"))[0, 1]) < 0.03
    assert not len(sampling.uniform([]))


@pytest.mark.parametrize(
    ("count", "likely", "others", "expected"),
    [
        (100, 1000, 1000, (0.08, 0.02)),
        (100, 10, 1000, (1.0, 0.09)),
        (100, 1000, 5, (0.095, 1.0)),
        (100, 0, 400, (0.0, 0.25)),
        (100, 400, 0, (0.25, 0.0)),
        (100, 40, 40, (1.0, 1.0)),
    ],
)
def test_a_stratum_that_is_smaller_than_its_part_leaves_the_rest_to_the_other(count, likely, others, expected):
    assert sampling.shares(count, likely, others) == pytest.approx(expected)


def test_the_weights_make_up_for_the_choice():
    """Over many populations the weighted counts of users and of positives are those of everybody."""
    users, positives = 0.0, 0.0
    for draw in range(200):
        ids = pa.array([f"{draw} {n}" for n in range(1000)])
        likely = np.arange(1000) < 150
        chosen = sampling.drawn(ids, likely, 100)
        at = np.array([int(text.split()[1]) for text in chosen[USER].to_pylist()])
        weight = chosen[REQUEST_WEIGHT].to_numpy()
        users += weight.sum() / 200
        positives += (weight * ((at < 150) + 0.1 * (at >= 900))).sum() / 200
    assert users == pytest.approx(1000, rel=0.03)
    assert positives == pytest.approx(160, rel=0.03)


def test_examples_are_thinned_by_whole_lists_and_the_same_every_time(sampled_line):
    from narrows.stage import Past

    runner = sampled_line.runner
    partitions = {asof: runner.store.current("examples", asof) for asof in runner.store.partitions("examples")}
    examples = Past({asof: table for asof, table in partitions.items() if table})
    everything, half = frame(sampling.bounded(examples, 10**9)), frame(sampling.bounded(examples, 2000))
    assert everything.equals(frame(examples.arrow()))
    assert half.equals(frame(sampling.bounded(examples, 2000)))
    key = ["asof", "user_id"]
    assert half.height < 0.8 * everything.height
    assert half.height == everything.join(half.select(key).unique(), on=key).height


def test_the_rooms_before_the_last_keep_the_sample_alone_and_the_last_everybody(sampled_line, line):
    chosen = set(sample(sampled_line)[USER])
    assert 0.5 * FLOW_USERS < len(chosen) < 1.6 * FLOW_USERS
    for room in ("recall", "prerank", "rank"):
        rows = frame(sampled_line.table(room))
        assert set(rows[USER]) <= chosen
        assert rows[REQUEST_WEIGHT].null_count() == 0
        assert sample(sampled_line, room).equals(sample(sampled_line))
        assert sampled_line.table(room).notes["flow_users"] == len(chosen)
    rows, whole = frame(sampled_line.table("rerank")), frame(line.table("recommendations"))
    outside = rows.filter(pl.col(REQUEST_WEIGHT).is_null())
    assert outside["kept"].all()
    assert not rows.filter(~pl.col("kept")).is_empty()
    assert set(rows[USER]) == set(whole[USER])
    assert set(frame(sampled_line.table("recommendations"))[USER]) == set(whole[USER])
    fused = sampled_line.table("rerank").notes["fused"]
    assert fused["users"] == len(set(whole[USER]) - chosen)
    assert fused["rows.recall"] >= fused["rows.prerank"] >= fused["rows.rank"]
    assert fused["rows.rank"] >= fused["rows.rerank"] == fused["received"] > fused["kept"]
    assert all(fused[f"cpu.{room}"] > 0 for room in sampled_line.runner.pipeline.narrowing)


def test_past_windows_sample_who_took_something_and_mostly_the_same_users(sampled_line):
    store = sampled_line.runner.store
    samples = [frame(store.current("recall", asof).side(REQUESTS)) for asof in store.partitions("recall")]
    assert len(samples) == 5
    for one, other in pairwise(samples):
        assert len(set(one[USER]) & set(other[USER])) > 0.7 * len(one)


def test_fused_lists_are_the_staged_ones(sampled_line, tmp_path: Path):
    """The same models over all users at once, room by room: every list is that of the fused pass, row by row."""
    runner, asof = sampled_line.runner, sampled_line.asof
    found = frame(sampled_line.table("rerank").arrow(where=pa.compute.field("kept")))
    from narrows.run.narrowing import flow, fuse
    from narrows.stage import Shard

    rooms = [runner.room(name) for name in runner.pipeline.narrowing]
    models = [(room, runner.model(room.name, asof)[0]) for room in rooms]
    users, items = sampled_line.table("user_profiles").arrow(), sampled_line.table("item_profiles").arrow()
    last = fuse(models, Shard(users, items, None, asof))[-1]
    staged = frame(flow(last)).filter(pl.col("kept"))
    order = ["user_id", "rank"]
    one, other = found.drop(REQUEST_WEIGHT).sort(order), staged.sort(order)
    scores = [name for name in one.columns if name.endswith("_score")]  # a matrix product rounds by its shape
    assert one.drop(scores).equals(other.drop(scores))
    for name in scores:
        assert one[name].is_null().equals(other[name].is_null())
        np.testing.assert_allclose(one[name].drop_nulls(), other[name].drop_nulls(), rtol=1e-4, atol=1e-6)


def test_several_processes_write_what_one_writes(sampled_line, tmp_path: Path):
    runner, asof = sampled_line.runner, sampled_line.asof
    rooms = [runner.room(name) for name in runner.pipeline.narrowing]
    models = [(room.name, runner.model_table(room.name, asof)) for room in rooms]
    requests = sampled_line.table("rerank").side(REQUESTS).arrow()
    written = []
    for processes in (1, 2):
        folder = tmp_path / str(processes)
        folder.mkdir()
        shards = user_shards(sampled_line.table("user_profiles"), 16)
        work = fused.Pass(runner.settings, models, sampled_line.table("item_profiles"), requests, asof, folder)
        counts = fused.run(work, shards, 0, processes)
        assert counts["users"] == 81
        written.append([pl.read_parquet(file) for file in sorted(folder.iterdir())])
    assert len(written[0]) == 6
    assert all(one.equals(other) for one, other in zip(*written, strict=True))


def test_why_says_of_a_user_outside_the_sample_that_there_is_no_flow(sampled_line):
    chosen = set(sample(sampled_line)[USER])
    rooms = ("user_profiles", "item_profiles", *sampled_line.runner.pipeline.narrowing, "recommendations")
    tables = {room: sampled_line.table(room) for room in rooms}
    for user, there in ((min(chosen), False), (next(f"h{n}" for n in range(80) if f"h{n}" not in chosen), True)):
        facts = explain.trace(user, "never", tables, of_rooms(sampled_line.runner.pipeline.rooms))
        text = " ".join(" ".join(explain.words(facts)).split())
        assert ("kept the full flow of a sample" in text) == there


def test_who_has_been_away_for_long_gets_no_list_of_their_own(sampled_line):
    """The audience is who was active within so many horizons, or has not been yet; no room narrows the others."""
    runner, profiles = sampled_line.runner, sampled_line.table("user_profiles")
    everybody = audience(runner, profiles)
    assert profiles.count(everybody) == profiles.rows == 81
    ages = frame(profiles)["days_since_last_event"]
    room = replace(runner.settings.rooms["recommendations"], audience=float(ages.median()) / 7)
    some = Runner(replace(runner.settings, rooms={**runner.settings.rooms, "recommendations": room}))
    who = audience(some, profiles)
    assert profiles.count(who) == ((ages <= ages.median()) | ages.is_null()).sum() < 81
    assert some.recipe("recall") != runner.recipe("recall")
    nobody = replace(room, audience=0.0)
    unlimited = Runner(replace(runner.settings, rooms={**runner.settings.rooms, "recommendations": nobody}))
    assert audience(unlimited, profiles) is None


def test_recall_learns_from_some_users_where_there_are_very_many(sampled_line):
    profiles = sampled_line.table("user_profiles")
    assert sampling.some_users(profiles, 81) is None
    who = sampling.some_users(profiles, 40)
    assert 25 < profiles.count(who) < 55
    assert profiles.arrow(where=who).equals(profiles.arrow(where=sampling.some_users(profiles, 40)))


def test_users_come_in_order_and_in_shards_of_one_size(sampled_line):
    profiles = sampled_line.table("user_profiles")
    shards = list(user_shards(profiles, 7))
    assert [shard.num_rows for shard in shards[:-1]] == [7] * (len(shards) - 1)
    assert pa.concat_tables(shards).equals(profiles.arrow())
    nobody = list(user_shards(profiles, 7, pa.compute.field(USER) == "nobody"))
    assert [shard.num_rows for shard in nobody] == [0]
    assert nobody[0].schema.names == profiles.columns
