"""The whole cascade over a world with views, impressions, purchases and returns."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import polars as pl
import pytest

from narrows.cli.report.published import facts_of
from narrows.engine.undo import positives_in_spark
from stages.examples.assemble import labels
from tests import world
from tests.fixtures import Line, run_line

WEEK = 14


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Line:
    return run_line(world.write_log(tmp_path_factory.mktemp("shop")), world.ASOF)


def frame(line: Line, room: str) -> pl.DataFrame:
    return pl.DataFrame(line.table(room).arrow())


def test_events_carry_their_kinds(shop: Line):
    counts = Counter(frame(shop, "events")["kind"])
    notes = shop.table("events").notes
    assert notes["kinds"] == counts
    assert facts_of(shop.runner.settings, shop.asof)["kinds"] == counts
    assert notes["undo_without_positive"] == 0
    assert min(counts.values()) > 300


def test_profiles_know_what_was_taken_and_apart_from_it_what_was_looked_at(shop: Line):
    users, items = frame(shop, "user_profiles"), frame(shop, "item_profiles")
    taken = set(users.explode("history_item")["history_item"])
    assert not {item for item in taken if item and item[0] in "vx"}
    looked = set(users.explode("viewed_item")["viewed_item"])
    assert {f"v{n}" for n in range(9)} <= looked
    assert not looked & {"x0", "x1", "x2"}
    views = items.filter(pl.col("item_id").str.starts_with("v"))
    assert (views["viewers_long"] > 0).all()
    assert views["users_64x"].sum() == 0
    for row in users.filter(pl.col("user_id").str.starts_with("h")).to_dicts():
        ages = dict(zip(row["history_item"], row["history_last_days"], strict=True))
        back = f"a{world.starter(int(row['user_id'][1:]), WEEK - 1)}"
        assert ages.get(back, 99) > 7, "what was brought back does not count as had last week"


def test_examples_have_exposed_rows_and_no_label_of_anything_but_a_positive(shop: Line):
    rows = frame(shop, "examples")
    exposed = rows.filter(pl.col("stage_reached") == "exposed")
    assert set(exposed["item_id"].str.slice(0, 1)) == {"h", "x"}
    assert exposed["propensity"].to_list() == [0.25] * exposed.height
    assert set(exposed["position"]) == {0, 1, 2, 3}
    assert rows.filter(pl.col("item_id").str.contains("^[vx]"))["label"].sum() == 0
    assert exposed.filter(pl.col("item_id").str.starts_with("hit"))["label"].sum() > 0
    positives = rows.filter(pl.col("label") == 1)
    sampled = positives["item_id"].str.starts_with("n")
    assert positives.filter(sampled)["label_weight"].to_list() == [0.5] * int(sampled.sum())
    assert (positives.filter(~sampled)["label_weight"] == 1).all()


def test_the_truth_leaves_out_what_was_brought_back_within_the_horizon(shop: Line):
    outcomes = pl.DataFrame(shop.table("evaluation").side("outcomes").arrow())
    assert WEEK % 2 == 0, "of even weeks nothing is brought back"
    assert not {item for item in outcomes["item_id"] if item[0] in "vx"}
    bought = sum(len(world.staples(n) | world.fortnightlies(n, WEEK)) for n in range(world.HOUSEHOLDS))
    assert outcomes.height > bought


def test_what_is_certain_is_in_the_lists_and_so_is_what_was_looked_at(shop: Line):
    lists = frame(shop, "recommendations").group_by("user_id").agg("item_id")
    served = dict(lists.iter_rows())
    for household in range(world.HOUSEHOLDS):
        assert world.staples(household) <= set(served[f"h{household}"])
    looked = [world.companion(n, WEEK) <= set(served[f"h{n}"]) for n in range(world.HOUSEHOLDS)]
    assert sum(looked) >= 0.9 * len(looked)
    recalled = frame(shop, "recall")
    assert recalled.filter(pl.col("viewed_rank").is_not_null() & pl.col("kept")).height >= world.HOUSEHOLDS


def test_turning_returns_into_purchases_changes_the_labels(shop: Line, tmp_path, spark):
    table = pl.from_arrow(world.log()).with_columns(pl.col("type").replace("return", "purchase")).to_arrow()
    other = run_line(world.write_log(tmp_path, table=table), world.ASOF, ("events",))
    asof, week = world.ASOF - timedelta(days=7), timedelta(days=7)
    taken = []
    for line in (shop, other):
        rows = labels(positives_in_spark(line.table("events"), spark), [asof], week).collect()
        taken.append({(row["user_id"], row["item_id"]) for row in rows})
    brought_back = {(f"h{n}", f"a{world.starter(n, WEEK - 1)}") for n in range(world.HOUSEHOLDS)}
    assert taken[1] - taken[0] == brought_back
    assert taken[0] < taken[1]
    assert not {item for _, item in taken[1] if item[0] in "vx"}, "an impression or a view never becomes a positive"
