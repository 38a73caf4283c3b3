"""Exposures in examples: shown and not taken is a negative of its own, with its share, its place and its propensity."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from features.pair import FEATURES
from narrows.stage import Table
from stages.examples import Examples, here
from stages.examples import assemble as assembling
from stages.examples.assemble import assemble
from tests.recall.tiny import shard
from tests.test_kinds_in_rooms import ASOF, WEEK, Rows, at, events

ROWS = [("u1", "x", 5), ("u1", "y", 1), ("u2", "z", 4), ("u2", "x", 9)]


def stored(folder: Path, name: str, table: pa.Table) -> Table:
    (folder / name / "data").mkdir(parents=True)
    pq.write_table(table, folder / name / "data" / "part-00000.parquet")
    return Table(name, ASOF, "v", folder / name, {"rows": 10})


def examples(
    spark, folder: Path, rows: Rows, positions: dict | None = None, of_kind: str = "exposure", **room
) -> dict[tuple[str, str], dict]:
    """The examples of a week by user and item, where recall offered x and y to u1 and z to u2."""
    table = events(folder / "events", rows, ASOF + WEEK)
    if positions:
        for file in (folder / "events").rglob("*.parquet"):
            known = pq.read_table(file, partitioning=None)
            for name, of in positions.items():
                at_name = known.column_names.index(name)
                values = [
                    of.get(item) if kind == of_kind else None
                    for item, kind in zip(known["item_id"].to_pylist(), known["kind"].to_pylist(), strict=True)
                ]
                known = known.set_column(
                    at_name, known.schema.field(name), pa.array(values, known.schema.field(name).type)
                )
            pq.write_table(known, file)
    profiles = shard(ROWS)
    offered = pa.table({"user_id": ["u1", "u1", "u2"], "item_id": ["x", "y", "z"], "ease_score": pa.array([1, 2, 3], pa.float32()),
                        "kept": [True] * 3, "reason": pa.nulls(3, pa.string())})  # fmt: skip
    tables = (stored(folder, "users", profiles.users), stored(folder, "items", profiles.items))
    flow = (stored(folder, "recall", offered), None, None, None)
    given = (table, {ASOF: tables}, {ASOF: flow}, Examples(**{"negative_share": 1.0, **room}), timedelta(days=7))
    assemble(spark, *given).save(folder / "examples")
    here.Assembled(*given).save(folder / "here")
    found, same = (
        pq.read_table(folder / name, partitioning=None).sort_by([("user_id", "ascending"), ("item_id", "ascending")])
        for name in ("examples", "here")
    )
    assert pl.DataFrame(found).equals(pl.DataFrame(same).select(found.column_names)), "the same without Spark"
    pairs = {(row["user_id"], row["item_id"]): row for row in found.to_pylist()}
    assert len(pairs) == found.num_rows
    return pairs


SHOWN: Rows = [
    at("exposure", 1, user="u1"), at("exposure", 2, user="u1"), at("exposure", 1, item="z", user="u1"),
    at("exposure", 1, item="z", user="u2"), at("positive", 1.5, item="z", user="u2"), at("exposure", 7.5, item="y", user="u1"),
    at("exposure", 1, item="nobody knows it", user="u1"), at("exposure", 1, user="stranger"),
]  # fmt: skip


def test_what_was_shown_is_one_row_each_with_the_features_of_all_others(spark, tmp_path):
    found = examples(spark, tmp_path, SHOWN, {"position": {"x": 3, "z": 1}, "propensity": {"x": 0.25}})
    assert {pair: (row["label"], row["stage_reached"]) for pair, row in found.items()} == {
        ("u1", "x"): (0, "exposed"), ("u1", "y"): (0, "recall"), ("u1", "z"): (0, "exposed"), ("u2", "z"): (1, "exposed"),
    }  # fmt: skip
    assert {pair: (row["position"], row["propensity"]) for pair, row in found.items()} == {
        ("u1", "x"): (3, 0.25), ("u1", "y"): (None, None), ("u1", "z"): (1, None), ("u2", "z"): (1, None),
    }  # fmt: skip
    assert found["u1", "x"]["ease_score"] == 1.0
    assert found["u1", "z"]["ease_score"] is None, "recall did not offer it"
    assert found["u1", "x"]["history_count"] == 1
    assert {name for name in FEATURES if not name.endswith("_score")} <= set(found["u1", "z"])
    assert all(row["weight"] == 1 for row in found.values())


def test_an_impression_never_becomes_a_positive(spark, tmp_path):
    found = examples(spark, tmp_path, [row for row in SHOWN if row[2] == "exposure"])
    assert not any(row["label"] for row in found.values())


def test_a_positive_with_a_position_was_shown(spark, tmp_path):
    rows = [
        at("positive", 1, item="y", user="u1"),
        at("positive", 1, user="u2"),
        at("exposure", 2, item="z", user="u2"),
    ]
    found = examples(spark, tmp_path, rows, {"position": {"y": 2}}, "positive")
    shown = {pair: (row["label"], row["position"]) for pair, row in found.items() if row["stage_reached"] == "exposed"}
    assert shown == {("u1", "y"): (1, 2), ("u2", "z"): (0, None)}
    assert ("u2", "x") not in found, "neither offered nor shown"


def test_exposed_negatives_have_a_share_of_their_own(spark, tmp_path):
    found = examples(spark, tmp_path, SHOWN, exposed_share=1e-6)
    assert set(found) == {("u1", "y"), ("u2", "z")}, "the taken one stays"


def test_of_very_many_events_each_task_has_the_rows_of_some_users(spark, tmp_path, monkeypatch):
    whole = examples(spark, tmp_path / "whole", SHOWN)
    monkeypatch.setattr(assembling, "TASK_EVENTS", 1)
    cut = examples(spark, tmp_path / "cut", SHOWN)
    assert repr(sorted(cut.items())) == repr(sorted(whole.items()))  # NaN is not equal to itself
    files = [len(list((tmp_path / name / "examples").rglob("*.parquet"))) for name in ("whole", "cut")]
    assert files == [1, 2], "two users"


def test_without_exposures_the_columns_are_as_before(spark, tmp_path):
    rows = [at("positive", 1, user="u1")]
    table_notes = {"kinds": {"positive": 1}}
    table = events(tmp_path / "events", rows, ASOF + WEEK)
    table.meta["notes"] = table_notes
    profiles = shard(ROWS)
    offered = pa.table({"user_id": ["u1"], "item_id": ["x"], "kept": [True], "reason": pa.nulls(1, pa.string())})
    tables = (stored(tmp_path, "users", profiles.users), stored(tmp_path, "items", profiles.items))
    flow = (stored(tmp_path, "recall", offered), None, None, None)
    assemble(spark, table, {ASOF: tables}, {ASOF: flow}, Examples(), WEEK).save(tmp_path / "examples")
    (row,) = pq.read_table(tmp_path / "examples", partitioning=None).to_pylist()
    assert row["label"] == 1
    assert not {"position", "propensity"} & set(row)
