"""A shop that is hard on every room: three users, nothing taken twice, one user and one item with half of all events."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
import pyarrow as pa
import pytest

from tests import world
from tests.fixtures import run_line

LONG = "k" * 10_000
"""An id of 10 kB."""


def awkward() -> pa.Table:
    """Each week each household takes an item of its own for the first time; h0 looks at ``hot`` all day; one instant a week."""
    rows = []
    for week in range(world.WEEKS):
        at = world.FIRST_MONDAY + world.WEEK * week + timedelta(hours=9)
        for n, household in enumerate(("h0", "h1", LONG)):
            common = {"household": household, "at": at, "shop": "shop 0", "basket": f"{household[:2]} {week}"}
            for item in (f"p{(week + 2 * n) % 40}", f"q{(3 * week + n) % 60}"):
                rows.append({**common, "product": item, "type": "purchase", "units": 1.0, "price": 2.0})
            rows.append({**common, "product": f"p{(week + 2 * n + 1) % 40}", "type": "view"})
            rows.append({**common, "product": "hot", "type": "impression", "slot": 0, "chance": 1.0})
        for look in range(9):
            rows.append({"household": "h0", "product": "hot", "at": at + timedelta(minutes=look), "type": "view",
                         "shop": "shop 0", "basket": f"h0 {week}"})  # fmt: skip
    names = ("household", "product", "at", "units", "price", "shop", "basket", "type", "slot", "chance")
    return pa.table({name: pa.array([row.get(name) for row in rows]) for name in names})


@pytest.mark.slow
def test_an_awkward_shop_runs_to_its_lists(tmp_path):
    table = pl.from_arrow(awkward())
    assert table.filter(pl.col("household") == "h0").height > table.height / 2
    assert table.filter(pl.col("product") == "hot").height > table.height / 2
    taken = table.filter(pl.col("type") == "purchase").select("household", "product")
    assert taken.n_unique() == taken.height, "nothing is taken twice"
    line = run_line(world.write_log(tmp_path, {"rank": {"epochs": 1, "min_count": 1}}, table.to_arrow()), world.ASOF)
    lists = pl.DataFrame(line.table("recommendations").arrow())
    assert {"h0", "h1", LONG} <= set(lists["user_id"])
    known = table.filter((pl.col("type") == "purchase") & (pl.col("at") < world.ASOF.end))
    again = lists.join(known, left_on=["user_id", "item_id"], right_on=["household", "product"], how="semi")
    assert again.is_empty(), "in a world without repeats nobody is offered what they had"
    labels = pl.DataFrame(line.table("examples").arrow())
    assert labels.filter(pl.col("item_id") == "hot")["label"].sum() == 0
    assert labels["label"].sum() > 0
