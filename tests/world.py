"""A small world whose right answers are known by construction.

Households shop on Mondays. Of what they buy, four kinds are certain:

- *staples*: a group's six items, bought by each of its members every week: owned, due, the right answer;
- *fortnightlies*: three items of each household's own, bought every second week; half are due, half are not;
- *the hit*: one item a fortnight that three households in four buy while it lasts: popularity knows it;
- *companions*: item ``b<n>`` is bought the week after ``a<n>`` by all who bought that: item-to-item knows it.

The rest is noise. Item ``never`` is in the catalogue and nobody buys it; household ``quiet`` is known and buys
nothing.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from narrows.asof import Asof

FIRST_MONDAY = datetime(2024, 1, 1, tzinfo=UTC)
WEEK, WEEKS = timedelta(days=7), 16
ASOF = Asof.parse("2024-04-07")
"""The Sunday before the fifteenth Monday: the list is judged on that one."""
HOURLY = Asof.parse("2024-01-01T13", timedelta(hours=1))
"""The fourteenth hour of the same world with hours for weeks: the list is judged on the fifteenth."""
HOUSEHOLDS, GROUPS, COMPANIONS, NOISE = 80, 8, 10, 120

SETTINGS = """
[source]
name = "files"
events = "events.parquet"
items = "items.parquet"
users = "users.parquet"
[source.event_columns]
user_id = "household"
item_id = "product"
event_time = "at"
value = "units"
price = "price"
context = "shop"
session_id = "basket"
[source.item_columns]
item_id = "product"
category = "kind"
[source.user_columns]
user_id = "household"
segment = "size"
"""
KINDS = """
[source.kinds]
positive = {purchase = 1.0, sample = 0.5}
context = ["view"]
exposure = ["impression"]
undo = ["return"]
"""
"""What the event types of `log` mean."""


def group(household: int) -> int:
    """The group of a household; its members share their staples."""
    return household % GROUPS


def staples(household: int) -> set[str]:
    """What the household buys every week."""
    return {f"s{group(household)}_{n}" for n in range(6)}


def fortnightlies(household: int, week: int) -> set[str]:
    """What of the household's own is due in a week."""
    return {f"f{household}_{n}" for n in range(3) if (week + household + n) % 2 == 0}


def hit(week: int) -> str:
    """The hit of a week."""
    return f"hit{(week + 1) // 2}"


def companion(household: int, week: int) -> set[str]:
    """What follows from the week before."""
    return {f"b{starter(household, week - 1)}"} if week > 0 else set()


def starter(household: int, week: int) -> int:
    return (household * 7 + week * 3) % COMPANIONS


def bought(household: int, week: int, rng: np.random.Generator) -> set[str]:
    """Everything that a household buys in a week."""
    basket = staples(household) | fortnightlies(household, week) | companion(household, week)
    basket |= {f"a{starter(household, week)}"}
    basket |= {f"n{n}" for n in rng.choice(NOISE, 2, replace=False)}
    return basket | ({hit(week)} if household % 4 else set())


def events(weeks: int = WEEKS, step: timedelta = WEEK) -> pa.Table:
    """All purchases, as a product's own table would have them; with a step of an hour its weeks are hours."""
    rng, rows = np.random.default_rng(7), []
    for week in range(weeks):
        for household in range(HOUSEHOLDS):
            at = FIRST_MONDAY + step * week + timedelta(minutes=household % 60)
            at += timedelta(hours=8 + household % 10) if step == WEEK else timedelta()
            for item in sorted(bought(household, week, rng)):
                shop = f"shop {group(household) % 3}"
                rows.append((f"h{household}", item, at, 1.0, 1.0 + len(item), shop, f"{household}-{week}"))
    names = ("household", "product", "at", "units", "price", "shop", "basket")
    return pa.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))


def log(weeks: int = WEEKS) -> pa.Table:
    """The world with views, impressions and returns beside the same purchases.

    On the Saturday before a week each household looks at what it will buy of companions and hits, and at ``v<n>``, which
    nobody ever buys. On the Monday it is shown the hit and the items ``x0`` to ``x2``, which nobody takes either. What it
    bought of ``a<n>`` in an odd week it brings back two days later. A purchase of noise is a sample.
    """
    rng, rows = np.random.default_rng(11), []
    for row in events(weeks).to_pylist():
        rows.append({**row, "type": "sample" if row["product"][0] == "n" else "purchase"})
        week = (row["at"] - FIRST_MONDAY) // WEEK
        if row["product"][0] == "a" and week % 2:
            rows.append({**row, "at": row["at"] + timedelta(days=2), "type": "return"})
    for week in range(weeks):
        for household in range(HOUSEHOLDS):
            base = {
                "household": f"h{household}",
                "shop": f"shop {group(household) % 3}",
                "basket": f"look {household}-{week}",
            }
            at = FIRST_MONDAY + WEEK * week + timedelta(minutes=household)
            looks = companion(household, week) | ({hit(week)} if household % 4 else set()) | {f"v{rng.integers(9)}"}
            for item in sorted(looks):
                rows.append({**base, "product": item, "at": at - timedelta(days=1, hours=4), "type": "view"})
            for slot, item in enumerate((hit(week), "x0", "x1", "x2")):
                rows.append({**base, "product": item, "at": at, "type": "impression", "slot": slot, "chance": 0.25})
    names = ("household", "product", "at", "units", "price", "shop", "basket", "type", "slot", "chance")
    return pa.table({name: pa.array([row.get(name) for row in rows]) for name in names})


def items() -> pa.Table:
    """The catalogue: the kind of an item is its first letter; one item is unknown to it, and one has no kind."""
    known = sorted({*events()["product"].to_pylist(), "never"} - {"n0"})
    return pa.table({"product": known, "kind": [None if name == "n1" else name[0] for name in known]})


def users() -> pa.Table:
    """The households: a third of them is unknown to the table; ``quiet`` buys nothing."""
    known = [f"h{n}" for n in range(HOUSEHOLDS) if n % 3] + ["quiet"]
    return pa.table({"household": known, "size": ["small" if n % 2 else "large" for n in range(len(known))]})


def write_hours(folder: Path) -> Path:
    """The world in hours: an hour is grain and horizon; the file's path."""
    hour = {"source": {"grain": "hour", "horizon": "1h"}}
    return write(folder, hour, events(step=timedelta(hours=1)))


def write_log(folder: Path, rooms: dict[str, dict[str, object]] | None = None, table: pa.Table | None = None) -> Path:
    """The world with kinds of events; the file's path."""
    file = write(folder, rooms, log() if table is None else table)
    columns = 'event_type = "type"\nposition = "slot"\npropensity = "chance"\n'
    text = file.read_text().replace("[source.event_columns]\n", f"[source.event_columns]\n{columns}")
    file.write_text(f"{text}\n{KINDS}")
    return file


def write(folder: Path, rooms: dict[str, dict[str, object]] | None = None, table: pa.Table | None = None) -> Path:
    """Write the world and a ``narrows.toml`` that is quick to run; the file's path."""
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(events() if table is None else table, folder / "events.parquet")
    pq.write_table(items(), folder / "items.parquet")
    pq.write_table(users(), folder / "users.parquet")
    quick = {
        "pipeline": {"windows": 4, "shard_users": 20},
        "prerank": {"min_rows": 20},
        "rank": {"min_count": 5},
        "evaluation": {"resamples": 100},
        "rerank": {"policy": ""},
    }
    given = {**quick, **(rooms or {})}
    source = "".join(f"{key} = {json.dumps(value)}\n" for key, value in given.pop("source", {}).items())
    lines = [SETTINGS.replace("[source]\n", f"[source]\n{source}")]
    for room, values in given.items():
        lines += [f"[{room}]", *[f"{key} = {json.dumps(value)}" for key, value in values.items()]]
    (folder / "narrows.toml").write_text("\n".join(lines))
    return folder / "narrows.toml"
