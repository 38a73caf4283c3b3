"""An item in half of all events is summed up part by part, and side tables are joined in tasks or by Spark: equal rows."""

from __future__ import annotations

from uuid import uuid4

import polars as pl
import pytest

from features import item, item_parts, viewed
from narrows.engine import histories, hot, sides
from narrows.engine.spark import TASK
from narrows.stage import Table
from stages.item_profiles import ItemProfiles, parts, profile
from stages.user_profiles import UserProfiles
from tests import random_events
from tests import world as small
from tests.fixtures import run_line
from tests.random_events import published, source
from tests.test_profiles import ASOFS, ROOM, WEEK, rows_of, saved

HOT = "i7"


def half_of_one_item() -> list[dict]:
    """A random log of which every second event is of one item."""
    rows = random_events.events(5, count=1500)
    seen: dict[tuple, dict] = {}
    for number, row in enumerate(rows):
        row = {**row, "item_id": HOT} if number % 2 else row
        seen[row["user_id"], row["item_id"], row["event_time"], row["session_id"]] = row
    return list(seen.values())


def profiles(room, spark, tables, folder) -> list[pl.DataFrame]:
    """The room's rows at each as-of, in their order."""
    asofs = ASOFS[1:4]
    room.transform(*tables, session=spark, asofs=asofs, **ROOM).save(folder)
    return [pl.DataFrame(pl.from_arrow(Table(room.name, asof, "v", saved(folder, asof), {}).arrow())) for asof in asofs]


@pytest.fixture(scope="module")
def tables(spark, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hot")
    return published(spark, folder / "published", source(folder, half_of_one_item()), ASOFS[3])


@pytest.fixture
def few_rows_are_many(spark, monkeypatch):
    """A function from whose call on few rows count as many."""
    before = spark.conf.get(TASK)

    def begin() -> None:
        spark.conf.set(TASK, "1000")
        monkeypatch.setattr(hot, "HOT_ROWS", 100)

    yield begin
    spark.conf.set(TASK, before)


def test_an_item_with_half_of_all_events_has_the_row_that_it_has_as_a_whole(
    spark, tables, tmp_path, monkeypatch, few_rows_are_many
):
    whole = profiles(ItemProfiles(), spark, tables, tmp_path / "whole")
    seen: list[dict[str, int]] = []
    find = hot.hot_keys
    few_rows_are_many()
    monkeypatch.setattr(histories, "hot_keys", lambda *given: seen.append(find(*given)) or seen[-1])
    parted = profiles(ItemProfiles(), spark, tables, tmp_path / "parted")
    assert set(seen[0]) == {HOT}
    assert seen[0][HOT] > 500
    for one, other in zip(whole, parted, strict=True):
        assert one.equals(other)
    assert HOT in whole[0]["item_id"]


def test_no_task_receives_all_rows_of_a_hot_item(spark, tables, tmp_path, monkeypatch, few_rows_are_many):
    """What the tasks are given of the item, as they note it down themselves."""
    few_rows_are_many()
    noted = tmp_path / "noted"
    noted.mkdir()

    def noting(kind, work):
        def noted_work(rows, asofs, **given):
            (noted / uuid4().hex).write_text(f"{kind} {rows.filter(pl.col('item_id') == HOT).height}")
            yield from work(rows, asofs, **given)

        return noted_work

    monkeypatch.setattr(profile, "summaries", noting("part", parts.summaries))
    monkeypatch.setattr(profile, "profiles", noting("whole", profile.profiles))
    profiles(ItemProfiles(), spark, tables, tmp_path / "items")
    seen = [file.read_text().split() for file in noted.iterdir()]
    received = [int(rows) for kind, rows in seen if kind == "part"]
    total = spark.read.parquet(str(tables[0]._folder / "data")).where(f"item_id = '{HOT}'").count()
    assert len(received) > 3
    assert max(received) < 0.5 * total < sum(received)
    assert {rows for kind, rows in seen if kind == "whole"} == {"0"}


def test_every_item_feature_is_made_of_parts():
    names = {feature.__name__ for feature in (*item.BY_EVENT, *item.BY_USER, *viewed.OF_ITEM)}
    assert set(item_parts.RATIOS) <= names
    parts = pl.DataFrame({"item_id": ["a"], "age": [1.0], "horizons": [0.5], "price": [2.0], "user_id": ["u"]})
    events = parts.group_by("item_id").agg(item_parts.of_events())
    users = pl.DataFrame({"item_id": ["a"], "visits": [1], "span": [0.0], "horizons": [0.5]})
    both = events.join(users.group_by("item_id").agg(item_parts.of_users()), "item_id")
    looked = parts.group_by("item_id").agg(each().alias(each.__name__) for each in viewed.OF_ITEM)
    made = (
        both.join(looked, "item_id").group_by("item_id").agg(item_parts.over_parts()).with_columns(item_parts.ratios())
    )
    assert names <= set(made.columns)


def test_parts_of_an_item_that_is_available_later_make_its_row_if_any_of_them_had_it():
    """The part with the catalogue's row may have no event; an item that nobody had has no row."""
    asof = ASOFS[1]
    rows = rows_of(random_events.events(2), "item_id").with_columns(part=pl.col("user_id").to_physical() % 3)
    catalogue = pl.col("known").is_null()
    rows = rows.with_columns(
        pl.when(catalogue).then(pl.col("item_id").hash() % 3).otherwise("part").alias("part"),
        pl.when(catalogue).then(9e9).alias("available_at"),
    )
    [whole] = profile.profiles(rows.drop("part"), [asof], WEEK)
    sums = [next(parts.summaries(mine.drop("part"), [asof], WEEK)) for mine in rows.partition_by("part")]
    made = parts.merged(pl.concat(sums)).select(whole.columns).cast(whole.schema).sort("item_id")
    assert made.equals(whole)
    assert whole["subcategory"].null_count() < whole.height < rows["item_id"].n_unique()


def test_a_large_side_table_is_joined_by_spark_with_the_same_rows(spark, tables, tmp_path, monkeypatch):
    for room in (ItemProfiles(), UserProfiles()):
        small = profiles(room, spark, tables, tmp_path / f"{room.name} small")
        monkeypatch.setattr(sides, "SIDE_BYTES", 0)
        large = profiles(room, spark, tables, tmp_path / f"{room.name} large")
        monkeypatch.undo()
        assert all(one.equals(other) for one, other in zip(small, large, strict=True))


def test_a_user_with_very_many_events_is_named(spark, tables, tmp_path, caplog, few_rows_are_many):
    few_rows_are_many()
    profiles(UserProfiles(), spark, tables, tmp_path / "users")
    assert "one task has all events of one in memory" in caplog.text


@pytest.mark.slow
def test_views_returns_and_impressions_of_hot_items_add_up_too(spark, tmp_path, few_rows_are_many):
    made = []
    for name in ("whole", "parted"):
        line = run_line(small.write_log(tmp_path / name), small.ASOF, ("events", "item_profiles"))
        made.append(pl.DataFrame(pl.from_arrow(line.table("item_profiles").arrow())))
        few_rows_are_many()
    assert made[0]["viewers_long"].sum() > 0
    assert made[0].equals(made[1])
