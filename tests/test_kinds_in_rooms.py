"""What labels, truth, histories and popularity make of the kinds of events: positives alone, net of what was undone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from narrows.asof import Asof
from narrows.columns import ITEM_TEXTS
from narrows.engine.undo import positives, positives_here, positives_in_spark
from narrows.stage import Table
from stages.examples import here
from stages.examples.assemble import labels
from stages.item_profiles import ItemProfiles
from stages.user_profiles import UserProfiles

ASOF, WEEK = Asof.parse("2024-03-10"), timedelta(days=7)
END = datetime(2024, 3, 11, tzinfo=UTC)
SCHEMA = pa.schema(
    [
        ("user_id", pa.string()), ("item_id", pa.string()), ("event_time", pa.timestamp("us", "UTC")),
        ("ingested_at", pa.timestamp("us", "UTC")), ("event_type", pa.string()), ("value", pa.float64()),
        ("price", pa.float64()), ("context", pa.string()), ("session_id", pa.string()), ("position", pa.int32()),
        ("propensity", pa.float64()), ("kind", pa.string()), ("weight", pa.float32()),
    ]
)  # fmt: skip
Rows = list[tuple[str, str, str, float, float]]
"""User, item, kind, and the days from the end of ASOF to when it happened and arrived."""


def events(folder: Path, rows: Rows, asof: Asof, weights: dict[str, float] | None = None) -> Table:
    """A table of events as the events room publishes it: rows known by ``asof``."""
    made = []
    for n, (user, item, kind, days, arrived) in enumerate(rows):
        at, known = END + timedelta(days=days), END + timedelta(days=max(days, arrived))
        if known < asof.end:
            weight = (weights or {}).get(item, 1.0) if kind == "positive" else None
            made.append(
                {"user_id": user, "item_id": item, "event_time": at, "ingested_at": END + timedelta(days=arrived),
                 "event_type": kind, "session_id": f"s{n:03}", "kind": kind, "weight": weight, "known": f"{known:%Y-%m-%d}"}
            )  # fmt: skip
    table = pa.Table.from_pylist(made, SCHEMA.append(pa.field("known", pa.string())))
    pq.write_to_dataset(table, folder / "data", partition_cols=["known"])
    return Table("events", asof, "v", folder, {"partitioned_by": "known", "rows": len(made)})


def at(kind: str, days: float, arrived: float | None = None, item: str = "x", user: str = "u") -> tuple:
    return (user, item, kind, days, days if arrived is None else arrived)


def labelled(spark, table: Table) -> dict[tuple[str, str], float]:
    rows = labels(positives_in_spark(table, spark), [ASOF], WEEK).collect()
    assert all(row["label"] == 1 and row["asof"] == "2024-03-10" for row in rows)
    found = {(row["user_id"], row["item_id"]): row["label_weight"] for row in rows}
    without_spark = here.labels(positives_here(table), ASOF, WEEK)
    assert {(user, item): weight for user, item, weight, _ in without_spark.rows()} == found
    return found


def truth(table: Table) -> set[tuple[str, str]]:
    from narrows.columns import ITEM, USER
    from stages.evaluation.read import horizon_of

    found = positives(table.truth(ASOF), [USER, ITEM], horizon_of(ASOF, ASOF + WEEK))
    return {(row[USER], row[ITEM]) for row in found.to_pylist()}


CASES = {
    "a positive": ([at("positive", 2)], True),
    "a view": ([at("context", 2)], False),
    "an impression": ([at("exposure", 2)], False),
    "a return": ([at("undo", 2)], False),
    "undone within the horizon": ([at("positive", 2), at("undo", 3)], False),
    "undone after it": ([at("positive", 2), at("undo", 7.5)], True),
    "undone in it, known after it": ([at("positive", 2), at("undo", 3, 9)], True),
    "one of two": ([at("positive", 2), at("positive", 2.5), at("undo", 3)], True),
    "the return of an earlier one": ([at("positive", -2), at("undo", 1), at("positive", 2)], True),
    "after the horizon": ([at("positive", 7)], False),
}


@pytest.mark.parametrize("case", CASES)
def test_labels_and_truth_are_positives_that_stand(spark, tmp_path, case):
    rows, taken = CASES[case]
    table = events(tmp_path, [*rows, at("positive", 1, item="other")], ASOF + WEEK)
    pairs = {("u", "other")} | ({("u", "x")} if taken else set())
    assert set(labelled(spark, table)) == pairs
    assert truth(table) == pairs


def test_turning_returns_into_purchases_changes_the_labels(spark, tmp_path):
    rows = [at("positive", 1), at("undo", 2), at("undo", 3, item="y"), at("exposure", 1, item="z")]
    before = labelled(spark, events(tmp_path / "1", rows, ASOF + WEEK))
    bought = [(u, i, "positive" if kind == "undo" else kind, *days) for u, i, kind, *days in rows]
    after = labelled(spark, events(tmp_path / "2", bought, ASOF + WEEK))
    assert before == {}
    assert set(after) == {("u", "x"), ("u", "y")}, "and an impression never becomes a positive"


def test_a_label_weighs_what_its_best_event_type_does(spark, tmp_path):
    rows = [at("positive", 1), at("positive", 2, item="y"), at("positive", 3, item="y")]
    weights = {"x": 0.25, "y": 3.0}
    assert labelled(spark, events(tmp_path, rows, ASOF + WEEK, weights)) == {("u", "x"): 0.25, ("u", "y"): 3.0}


def profiles(spark, folder: Path, rows: Rows, published: Asof, asofs: list[Asof]) -> dict[Any, dict[str, Any]]:
    """The profiles of user ``u`` and item ``x`` by as-of, out of the events published as of ``published``."""
    table = events(folder, rows, published)
    for name, schema in (("items", [(n, pa.string()) for n in ("item_id", *ITEM_TEXTS)] + [("available_at", pa.timestamp("us", "UTC"))]),
                         ("users", [("user_id", pa.string()), ("segment", pa.string())])):  # fmt: skip
        (folder / name / "data").mkdir(parents=True)
        pq.write_table(pa.schema(schema).empty_table(), folder / name / "data" / "part-0.parquet")
    items, users = (Table(name, published, "v", folder / name, {}) for name in ("items", "users"))
    found: dict[Any, dict[str, Any]] = {}
    for room, key, wanted in ((UserProfiles(), "user_id", "u"), (ItemProfiles(), "item_id", "x")):
        lengths = {"horizon": WEEK, "visit": timedelta(days=1)}
        room.transform(table, items, users, session=spark, asofs=asofs, **lengths).save(folder / room.name)
        for asof in asofs:
            made = pq.read_table(folder / room.name / f"asof={asof}").to_pylist()
            found[room.name, asof] = next((row for row in made if row[key] == wanted), {})
    return found


def test_profiles_count_positives_that_stand_as_known_then(spark, tmp_path):
    rows = [
        at("positive", -20), at("positive", -10), at("undo", -9, -3), at("context", -2), at("exposure", -1),
        at("positive", -5, item="y", user="w"),
    ]  # fmt: skip
    before, after = ASOF - timedelta(days=4), ASOF
    found = profiles(spark, tmp_path, rows, ASOF, [before, after])
    assert found["user_profiles", before]["events"] == 2
    assert found["user_profiles", before]["history_count"] == [2]
    assert found["user_profiles", after]["events"] == 1, "the return is known by now"
    assert found["user_profiles", after]["history_last_days"] == [20]
    assert found["user_profiles", after]["sequence_days"] == [20]
    assert len(found["user_profiles", after]["visit_days"]) == 1
    assert found["item_profiles", before]["events_4x"] == 2
    assert found["item_profiles", after]["events_4x"] == 1
    assert found["item_profiles", after]["days_since_last_event"] == 20


def test_another_future_leaves_profiles_and_labels_as_they_were(spark, tmp_path):
    rows = [at("positive", -20), at("positive", -10), at("undo", -9), at("positive", -3, item="y"), at("context", -1)]
    later = [
        at("undo", -1, 1), at("undo", 2, item="y"), at("positive", -30, 3), at("undo", -25, 4), at("exposure", 1),
        at("positive", -9.5, 6),
    ]  # fmt: skip
    one = profiles(spark, tmp_path / "1", rows, ASOF, [ASOF])
    two = profiles(spark, tmp_path / "2", rows + later, ASOF + WEEK, [ASOF])
    assert one == two
    assert one["user_profiles", ASOF]["history_item"] == ["y", "x"]


def test_who_only_looked_or_was_shown_something_has_a_profile_without_history(spark, tmp_path):
    rows = [at("exposure", -2), at("positive", -3, item="y", user="w")]
    found = profiles(spark, tmp_path, rows, ASOF, [ASOF])
    assert found["user_profiles", ASOF]["events"] == 0
    assert found["item_profiles", ASOF]["days_since_last_event"] is None


def test_recall_learns_from_positives_that_stand(tmp_path):
    rows = [at("positive", -5), at("undo", -4), at("context", -3), at("positive", -2, item="y"), at("undo", -1, 2, "y")]
    table = events(tmp_path, rows, ASOF)
    assert positives(table, ["item_id"]).to_pylist() == [{"item_id": "y"}]
    without = Table(
        "events", ASOF, "v", tmp_path, {"partitioned_by": "known", "notes": {"kinds": {"positive": 2, "context": 1}}}
    )
    assert positives(without, ["item_id"]).num_rows == 2, "where the notes count no undo, none is looked for"


def test_what_users_looked_at_stands_apart(spark, tmp_path):
    rows = [
        at("context", -2), at("context", -3), at("context", -9, item="y"), at("positive", -1, item="z"),
        at("context", -2.5, 3, item="late"), at("context", -8, user="w"), at("context", -27, user="v"),
    ]  # fmt: skip
    found = profiles(spark, tmp_path, rows, ASOF, [ASOF - timedelta(days=2), ASOF])
    user, item = found["user_profiles", ASOF], found["item_profiles", ASOF]
    assert (user["viewed_item"], user["viewed_count"], user["viewed_last_days"]) == (["x", "y"], [2, 1], [2, 9])
    assert user["history_item"] == ["z"]
    assert (item["viewers"], item["viewers_long"], item["days_since_last_view"]) == (1, 3, 2)
    assert item["users_4x"] == 0
    assert found["user_profiles", ASOF - timedelta(days=2)]["viewed_count"] == [1, 1]
