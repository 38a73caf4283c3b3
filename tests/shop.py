"""A small shop: sound drafts of its tables, what was published of them before, and their audits."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from narrows.asof import DAY, KNOWN, Asof
from narrows.audit.contract import Audit, contract
from narrows.audit.observations import observe
from narrows.audit.observations.subject import WEEK, Around
from narrows.audit.worker import audit_draft
from narrows.stage import Table
from stages import PIPELINE

ROOMS = {room.name: room for room in PIPELINE}
USERS, ITEMS, LENGTH = 60, 200, 10
TODAY = Asof.parse("2024-03-14")
NOW = datetime(2024, 1, 1, tzinfo=UTC)


@dataclass
class Shop:
    """Drafts of a small shop, and what was published of it before."""

    folder: Path
    seen: dict[str, Any] = field(default_factory=dict)
    tables: dict[str, Table] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=lambda: {"n": LENGTH})

    def write(self, name: str, asof: Asof, rows: pa.Table) -> Table:
        folder = self.folder / name / str(asof) / "data"
        if KNOWN in rows.column_names:
            pq.write_to_dataset(rows, folder, partition_cols=[KNOWN])
        else:
            folder.mkdir(parents=True)
            pq.write_table(rows, folder / "part-00000.parquet")
        return Table(name, asof, "v", folder.parent, {"rows": rows.num_rows})

    def publish(self, name: str, rows: pa.Table, asof: Asof) -> None:
        """A partition that came before: only its observations are made."""
        table = self.write(name, asof, rows)
        terms = contract(ROOMS[name]).over(rows.column_names, self.settings)
        around = self.around(name, asof)
        self.seen.setdefault(name, {})[asof] = observe(terms, table.dataset(), around)[1]
        self.tables[name] = table

    def audit(self, name: str, rows: pa.Table, asof: Asof = TODAY) -> Audit:
        """The audit of a draft."""
        folder = self.write(name, asof, rows)._folder / "data"
        given = (name, contract(ROOMS[name]), folder, self.folder / "docs", "v", str(asof), self.settings)
        return audit_draft(*given, around=self.around(name, asof), seen=self.seen)

    def around(self, name: str, asof: Asof) -> Around:
        return Around(asof, WEEK, self.settings, self.tables, self.tables.get(name), self.seen.get(name, {}))


def opened(folder: Path) -> Shop:
    """A shop whose users and items are known."""
    made = Shop(folder)
    users, items = ([f"{kind}{n}" for n in range(count)] for kind, count in (("u", USERS), ("i", ITEMS)))
    profiles = {"user_id": users, "days_since_last_event": pa.array([1.0] * USERS, pa.float32())}
    made.tables["user_profiles"] = made.write("known_users", TODAY, pa.table(profiles))
    made.tables["item_profiles"] = made.write("known_items", TODAY, pa.table({"item_id": items}))
    made.tables["rerank"] = made.tables["item_profiles"]
    return made


@cache
def sold(last: Asof, seed: int = 1) -> dict[str, np.ndarray]:
    """The columns of six weeks of sales up to a day, about 300 a day, as arrays."""
    rng, days = np.random.default_rng(seed), []
    for back in range(42):
        count = int(rng.normal(300, 12))
        start = last.end - (back + 1) * DAY
        days.append((start, rng.uniform(8, 20, count)))
    start = np.concatenate([np.full(len(hours), np.datetime64(day.replace(tzinfo=None), "us")) for day, hours in days])
    hours = np.concatenate([hours for _, hours in days])
    count = len(hours)
    return {
        "user": rng.integers(0, USERS, count), "item": rng.integers(0, ITEMS, count), "day": start,
        "at": start + (hours * 3.6e9).astype("timedelta64[us]"), "price": rng.lognormal(1, 0.5, count),
    }  # fmt: skip


def events(sales: dict[str, np.ndarray], keep: Any = None) -> pa.Table:
    """Sales as the table of events."""
    some = sales if keep is None else {name: values[keep] for name, values in sales.items()}
    count, at = len(some["user"]), pa.array(some["at"]).cast(pa.timestamp("us", "UTC"))
    text = pa.nulls(count, pa.string())
    return pa.table({
        "user_id": [f"u{n}" for n in some["user"]], "item_id": [f"i{n}" for n in some["item"]], "event_time": at,
        "ingested_at": at, "event_type": ["sale"] * count, "value": pa.array([1.0] * count), "price": some["price"],
        "context": text, "session_id": [str(n) for n in range(count)], "position": pa.nulls(count, pa.int32()),
        "propensity": pa.nulls(count, pa.float64()), "kind": ["positive"] * count,
        "weight": pa.array([1.0] * count, pa.float32()), KNOWN: np.datetime_as_string(some["day"], "D"),
    })  # fmt: skip


def scored(kind: str, asof: Asof, scores: Any = None, user: str = "u", item: str = "i") -> pa.Table:
    """Candidates with the scores of a room, twenty for each user."""
    rng, each = np.random.default_rng(asof.period), 20
    count = USERS * each
    ids = {
        "user_id": [f"{user}{n // each}" for n in range(count)],
        "item_id": [f"{item}{n % each}" for n in range(count)],
    }
    values = rng.uniform(0, 1, count) if scores is None else np.full(count, scores)
    ranks = pa.array([n % each + 1 for n in range(count)], pa.int32())
    return pa.table({**ids, f"{kind}_score": values, f"{kind}_rank": ranks, "kept": [True] * count,
                     "reason": pa.nulls(count, pa.string())})  # fmt: skip


def lists(
    asof: Asof, users: int = USERS, length: int = LENGTH, user: str = "u", item: str = "i", **given: Any
) -> pa.Table:
    """Published lists: of each user's own ten items about a third change from week to week."""
    rng = np.random.default_rng(given.get("seed", asof.period))
    rows = []
    for who in range(users):
        own = np.random.default_rng(who + given.get("other", 0)).permutation(ITEMS)[:14]
        chosen = given["shared"] if "shared" in given else rng.permutation(own)[:length]
        rows += [(f"{user}{who}", f"{item}{number}", place + 1) for place, number in enumerate(chosen[:length])]
    ids, items, places = zip(*rows, strict=True)
    count, base = (
        len(rows),
        {"release_id": "r", "batch_id": str(asof), "scene": "home", "reason": "own", "segment": "all"},
    )
    return pa.table({
        **{name: [value] * count for name, value in base.items()}, "user_id": ids, "item_id": items,
        "expires_at": pa.array([NOW] * count, pa.timestamp("us", "UTC")), "rank": pa.array(places, pa.int32()),
        "score": rng.uniform(0, 1, count), "propensity": [1.0] * count,
    })  # fmt: skip


def profiles(asof: Asof, **changes: Any) -> pa.Table:
    """Profiles of items: what of it the contract does not name is a feature like another."""
    rng = np.random.default_rng(asof.period)
    count, age = 1000, (asof.end - NOW) / DAY
    last = rng.uniform(0, 30, count)
    own = {
        "item_id": [f"i{n}" for n in range(count)], "days_since_first_event": age + last, "days_since_last_event": last,
        "days_since_available": pa.nulls(count, pa.float32()), "price": rng.lognormal(1, 0.5, count),
        "users_1x": rng.poisson(20, count), "viewers": np.zeros(count, int), "viewers_long": np.zeros(count, int),
        "days_since_last_view": pa.nulls(count, pa.float32()),
    }  # fmt: skip
    return pa.table(own | changes)
