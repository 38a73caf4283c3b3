"""A month of live operation in days: each day's file arrives and the DAG daily runs, by Airflow's scheduler. Slow.

A gap of a day, an outage of three days, and rows that arrive late. About an hour on two cores; `-k week` is a short form of
about fifteen minutes, `-k "month and not week"` the month alone.
"""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.compute as pc
import pytest
from served import Pages, ask, quoted, until_over

from narrows.asof import DAY, KNOWN, Asof
from narrows.cli.report import last_runs, record
from narrows.settings import load_settings
from narrows.stage import Table
from narrows.store.partitions import Store
from narrows.world.settings import World
from narrows.world.write import write

pytestmark = pytest.mark.slow

FIRST = datetime(2024, 1, 1, tzinfo=UTC)
HISTORY = 12
"""Days before the first run."""
K = 20
SECONDS = 1800.0
"""That a run may take."""
SETTINGS = """
[source]
name = "files"
events = "events"
items = "items.parquet"
users = "users.parquet"
horizon = "1d"
[source.kinds]
positive = ["purchase"]
context = ["view", "cart"]
[pipeline]
windows = 3
[recall]
refit = "60d"
[prerank]
refit = "60d"
min_rows = 20
[rank]
refit = "60d"
min_count = 5
[rerank]
policy = ""
[evaluation]
resamples = 50
[spark]
master = "local[1]"
"""


def day(number: int) -> Asof:
    """The as-of of the n-th day after the history, from 1."""
    return Asof.parse(f"{FIRST + (HISTORY + number - 1) * DAY:%Y-%m-%d}")


@dataclass
class Shop:
    """A folder in which a generated log lands day by day, and the Airflow that works on it."""

    folder: Path
    days: int
    gap: int
    """The day of which, and on which, no row comes."""

    def __post_init__(self) -> None:
        made = World(users=120, items=120, days=HISTORY + self.days, sessions_per_day=1.0)
        write(made, self.folder / "world")
        for name in ("items.parquet", "users.parquet"):
            shutil.move(self.folder / "world" / name, self.folder / name)
        (self.folder / "events").mkdir()
        (self.folder / "narrows.toml").write_text(SETTINGS)
        self.pages = Pages(self.folder / "narrows.toml")

    @cached_property
    def log(self) -> pl.DataFrame:
        """All rows, with the as-of in which each ``happened`` and the one in which it has ``arrived`` too, as text."""
        rows = pl.scan_parquet(self.folder / "world" / "log" / "*.parquet").with_columns(
            pl.col("event_type", "context").cast(pl.String), pl.col("user_id", "item_id").cast(pl.String),
            happened=pl.col("event_time").dt.strftime("%Y-%m-%d"),
            arrived=pl.max_horizontal("event_time", "ingested_at").dt.strftime("%Y-%m-%d"),
        )  # fmt: skip
        kept = rows.filter(pl.col("event_type").is_in(["view", "cart", "purchase"]))
        return kept.filter(
            (pl.col("happened") != str(day(self.gap))) & (pl.col("arrived") != str(day(self.gap)))
        ).collect()

    def arrive(self, asof: Asof, first: bool = False) -> None:
        """Let the rows of a day land, or with the ``first`` all up to it."""
        which = pl.col("arrived") <= str(asof) if first else pl.col("arrived") == str(asof)
        rows = self.log.filter(which).drop("happened", "arrived")
        if rows.height:
            rows.write_parquet(self.folder / "events" / f"{asof}.parquet")

    def run(self, asof: Asof) -> None:
        """A run as by the clock: what was missed and then the as-of; nothing of the future is made."""
        run = self.pages.trigger(asof=str(asof), catch_up=True)
        assert until_over(self.pages.port, run, SECONDS)["state"] == "success", (str(asof), self.logs(run))
        self.nothing_after(asof)

    def logs(self, run: str) -> str:
        """The end of what the tasks of a run said."""
        found = sorted((self.folder / "var" / "airflow" / "logs").glob(f"dag_id=daily/run_id={run}/*/*.log"))
        return "\n".join(file.read_text()[-3000:] for file in found[-2:])

    def refused(self, asof: Asof) -> None:
        """A run of a day without a row waits for them; it is given up, as after its last try."""
        run = self.pages.trigger(asof=str(asof), catch_up=True)
        where = f"dags/daily/dagRuns/{quoted(run)}/taskInstances/events"
        ask(self.pages.port, f"{where}/logs/1", patience=SECONDS)
        while (task := self.pages.task(run, "events"))["state"] != "up_for_retry":
            assert task["state"] not in ("success", "failed"), task
        assert "there is no event" in json.dumps(ask(self.pages.port, f"{where}/logs/1"))
        self.pages.give_up(run)
        assert until_over(self.pages.port, run)["state"] == "failed"
        self.nothing_after(asof)

    @cached_property
    def settings(self) -> Any:
        return load_settings(self.folder / "narrows.toml", {})

    @property
    def store(self) -> Store:
        return Store(self.settings.tables, DAY)

    def table(self, name: str, asof: Asof) -> Table:
        found = self.store.current(name, asof)
        assert found, (name, str(asof))
        return found

    def nothing_after(self, asof: Asof) -> None:
        for name in self.settings.pipeline.names:
            assert max(self.store.partitions(name), default=asof) <= asof, name

    def truth(self, asof: Asof) -> pl.DataFrame:
        """What was bought in the day after an as-of, as known at its end: user_id, item_id, context, event_time."""
        known = (pl.col("happened") == str(asof + DAY)) & (pl.col("arrived") <= str(asof + DAY))
        return self.log.filter(known & (pl.col("event_type") == "purchase")).sort("event_time", "context")

    def worth(self, asof: Asof) -> tuple[int, float | None]:
        """How many users bought something in the day after, and the mean recall@20 of what was published for them."""
        lists = self.table("recommendations", asof)
        own, filled = defaultdict(list), defaultdict(list)
        for row in lists.arrow().sort_by("rank").to_pylist():
            own[row["user_id"]].append(row["item_id"])
        for row in lists.side("fallback").arrow().sort_by("rank").to_pylist():
            filled[row["segment"]].append(row["item_id"])
        profiles = self.table("user_profiles", asof).arrow(["user_id", "segment"]).to_pylist()
        segments = {row["user_id"]: row["segment"] for row in profiles}
        bought, context = defaultdict(set), {}
        for row in self.truth(asof).iter_rows(named=True):
            bought[row["user_id"]].add(row["item_id"])
            context.setdefault(row["user_id"], f"context={row['context']}")
        recall = []
        for user, items in bought.items():
            names = (segments.get(user), context[user], "all")
            shown = own.get(user) or next(filled[name] for name in names if name in filled)
            recall.append(len(items & set(shown[:K])) / min(K, len(items)))
        return len(recall), sum(recall) / len(recall) if recall else None


@pytest.mark.parametrize(
    ("days", "gap", "outage"),
    [pytest.param(6, 2, (4, 5), id="week"), pytest.param(30, 11, (19, 20, 21), id="month")],
)
def test_days_that_arrive_are_made_judged_and_caught_up_with(tmp_path, days, gap, outage):
    shop = Shop(tmp_path, days, gap)
    shop.arrive(day(0), first=True)
    shop.pages.start()
    try:
        for number in range(1, days + 1):
            shop.arrive(day(number))
            if number == gap:
                shop.refused(day(number))
            elif number not in outage:
                shop.run(day(number))
            if number + 1 == outage[0]:
                shop.pages.end()
            if number == outage[-1]:
                shop.pages.start()
    finally:
        shop.pages.end()
    asofs = [day(number) for number in range(1, days + 1)]
    every_list_is_judged_once(shop, asofs)
    made_in_order(shop, asofs)
    rows_are_of_the_day_of_their_arrival(shop, asofs)
    of_gap = shop.table("events", day(gap)).meta["warnings"]
    assert any(f"no row on {day(gap)}" in line for line in of_gap), of_gap
    others = [line for asof in asofs if asof != day(gap) for line in shop.table("events", asof).meta["warnings"]]
    assert not any(str(asof) in line for line in others if "no row" in line for asof in asofs if asof != day(gap)), (
        others
    )
    curve = [each["asof"] for each in last_runs.last_judged(shop.settings.state, "files", str(asofs[-1]))]
    assert curve == [str(asof) for asof in asofs[:-1] if shop.worth(asof)[0]]
    newest = max(
        shop.settings.state.glob("reports/*.html"), key=lambda file: int(file.stem) if file.stem.isdigit() else 0
    )
    assert all(asof in newest.read_text() for asof in curve)


def every_list_is_judged_once(shop: Shop, asofs: list[Asof]) -> None:
    """And found worth what somebody who knows the whole log finds."""
    assert shop.store.partitions("evaluation") == asofs[:-1]
    for asof in asofs[:-1]:
        versions = [each for each in (shop.store.root / "evaluation" / str(asof)).iterdir() if each.is_dir()]
        assert len(versions) == 1, str(asof)
        rows = shop.table("evaluation", asof).arrow().to_pylist()
        found = next(
            (
                (row["users"], row["value"])
                for row in rows
                if (row["population"], row["kind"], row["metric"], row["k"], row["detail"])
                == ("all", "published", "recall", K, "")
            ),
            (0, None),
        )
        wanted = shop.worth(asof)
        assert found[0] == wanted[0], str(asof)
        assert found[1] == pytest.approx(wanted[1]), str(asof)


def made_in_order(shop: Shop, asofs: list[Asof]) -> None:
    """One run an as-of, and none before an earlier one."""
    runs = [each for each in record.read_all(shop.settings.state) if each["asof"] >= str(asofs[0])]
    first = {}
    for each in sorted(runs, key=lambda each: each["number"]):
        first.setdefault(each["asof"], each["number"])
    assert list(first) == [str(asof) for asof in asofs]
    made = [shop.table("recommendations", asof).meta["made_at"] for asof in asofs]
    assert made == sorted(made)


def rows_are_of_the_day_of_their_arrival(shop: Shop, asofs: list[Asof]) -> None:
    """Late rows are in the partition of their arrival, and are counted."""
    last = shop.table("events", asofs[-1])
    found = last.arrow([KNOWN, "event_time"])
    late = pc.greater(found[KNOWN], pc.strftime(found["event_time"], "%Y-%m-%d"))
    wanted = shop.log.filter(pl.col("arrived") <= str(asofs[-1]))
    assert found.num_rows == wanted.height
    assert pc.sum(late).as_py() == wanted.filter(pl.col("arrived") > pl.col("happened")).height > 0
    by_day = dict(wanted.group_by("arrived").len().iter_rows())
    assert {row["values"]: row["counts"] for row in pc.value_counts(found[KNOWN]).to_pylist()} == by_day
    assert last.notes["late"] == wanted.filter(pl.col("ingested_at").dt.date() > pl.col("event_time").dt.date()).height
