"""Profiles of a few users and items, computed in plain Python from (user, item, whole days ago)."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa

from features.ladder import GROUP_STEPS, STEPS
from narrows.asof import Asof
from narrows.stage import Shard

ASOF = Asof.parse("2024-05-31")
Rows = list[tuple[str, str, int]]
SMALL = {"item_to_item": {"min_users": 2}, "two_tower": {"min_users": 2, "pairs": 500, "batch": 64}}
"""Settings of the channels that learn, for a few users."""


def random_rows(users: int = 40, items: int = 60, seed: int = 0) -> Rows:
    """Every user has five favourites, had weekly, and ten random purchases."""
    rng = np.random.default_rng(seed)
    rows: Rows = []
    for user in range(users):
        favourites = rng.choice(items, 5, replace=False)
        rows += [(f"u{user:03}", f"i{item}", 7 * week + user % 7) for item in favourites for week in range(6)]
        rows += [(f"u{user:03}", f"i{rng.integers(items)}", int(rng.integers(1, 90))) for _ in range(10)]
    return rows


def events(rows: Rows) -> pa.Table:
    """user_id, item_id, event_time: noon of the day."""
    noon = ASOF.end.replace(tzinfo=None) - timedelta(hours=12)
    times: list[datetime] = [noon - timedelta(days=ago) for _, _, ago in rows]
    return pa.table(
        {
            "user_id": [u for u, _, _ in rows],
            "item_id": [i for _, i, _ in rows],
            "event_time": pa.array(times, pa.timestamp("us")),
        }
    )


def shard(rows: Rows, users: list[str] | None = None, items: list[str] | None = None, repeats: bool = True) -> Shard:
    """Users (default: those of the rows) and items with the columns that recall, prerank and rank read.

    Item i<n> is of category c<n % 5>, subcategory s<n % 10> and brand b<n % 3>; a user's segment and favourite
    context are g<n % 2> and x<n % 2>. Without `repeats` a pair counts on its newest day only.
    """
    if not repeats:
        newest: dict[tuple[str, str], int] = {}
        for u, i, ago in rows:
            newest[u, i] = min(ago, newest.get((u, i), ago))
        rows = [(u, i, ago) for (u, i), ago in newest.items()]
    names = users or sorted({u for u, _, _ in rows})
    codes = items or sorted({i for _, i, _ in rows})
    mine: dict[str, list[tuple[str, int]]] = defaultdict(list)
    by_item: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for u, i, ago in rows:
        mine[u].append((i, ago))
        by_item[i].append((u, ago))
    return Shard(
        pa.Table.from_pylist([_user(u, mine[u]) for u in names], USERS),
        pa.Table.from_pylist([_item(i, by_item[i]) for i in codes], ITEMS),
        None,
        ASOF,
    )


def number(name: str) -> int:
    """The n of u<n> or i<n>; 0 for a name without one."""
    return int("".join(c for c in name if c.isdigit()) or 0)


KEYS = {
    "history": str,
    "category": lambda i: f"c{number(i) % 5}",
    "subcategory": lambda i: f"s{number(i) % 10}",
    "brand": lambda i: f"b{number(i) % 3}",
}
STRING, FLOATS, INTS = pa.list_(pa.string()), pa.list_(pa.float32()), pa.list_(pa.int32())
USERS = pa.schema(
    [("user_id", pa.string()), ("segment", pa.string()), ("favourite_context", pa.string())]
    + [(f"{c}", pa.float32()) for c in ("days_since_last_event", "days_since_first_event", "mean_price")]
    + [
        (c, pa.int32())
        for c in ("events", "events_1x", "events_4x", "visits", "visits_4x", "visits_16x", "distinct_items")
    ]
    + [("sequence_item", STRING), ("sequence_days", FLOATS)]
    + [(f"{k}_{'item' if k == 'history' else 'name'}", STRING) for k in KEYS]
    + [(f"{k}_{c}", INTS) for k in KEYS for c in ("count", "last_visits", "first_visits")]
    + [
        (f"{k}_{c}", FLOATS)
        for k in KEYS
        for c in ("last_days", "first_days", "previous_days", "decayed_1x", "decayed_4x", "decayed_16x", "value")
    ]
)
WEEK = timedelta(days=7)
HORIZON = 7.0
"""Days."""
ITEMS = pa.schema(
    [(c, pa.string()) for c in ("item_id", "category", "subcategory", "brand")]
    + [(f"users_{step}", pa.int32()) for step in STEPS]
    + [
        (c, pa.float32())
        for c in (
            "days_since_first_event", "days_since_last_event", "repeat_share", "mean_gap_days", "visits_per_user",
            "price", "recent_price", "expected_demand",
        )
    ]
    + [(f"{g}_name", STRING) for g in ("context", "segment")]
    + [(f"{g}_users_{step}", INTS) for g in ("context", "segment") for step in GROUP_STEPS]
)  # fmt: skip


def within(ago: int, step: str) -> bool:
    """Whether noon of a day so many days ago lies within a step."""
    return ago + 0.5 <= STEPS[step] * HORIZON


def _user(name: str, rows: list[tuple[str, int]]) -> dict[str, object]:
    days = sorted({ago for _, ago in rows})
    parity = number(name) % 2
    row: dict[str, object] = {
        "user_id": name,
        "segment": f"g{parity}",
        "favourite_context": f"x{parity}" if rows else None,
    }
    row |= {"events": len(rows), "visits": len(days), "distinct_items": len({i for i, _ in rows})}
    row |= {f"events_{step}": sum(within(ago, step) for _, ago in rows) for step in ("1x", "4x")}
    row |= {f"visits_{step}": sum(within(ago, step) for ago in days) for step in ("4x", "16x")}
    row |= (
        {"days_since_last_event": days[0] + 0.5, "days_since_first_event": days[-1] + 0.5, "mean_price": 2.0}
        if days
        else {}
    )
    latest = sorted(rows, key=lambda r: (r[1], r[0]))[:50][::-1]
    row |= {"sequence_item": [i for i, _ in latest], "sequence_days": [ago + 0.5 for _, ago in latest]}
    for kind, key in KEYS.items():
        times: dict[str, set[int]] = defaultdict(set)
        for item, ago in rows:
            times[key(item)].add(ago)
        listed = sorted(times.items(), key=lambda t: (min(t[1]), t[0]))
        row[f"{kind}_{'item' if kind == 'history' else 'name'}"] = [k for k, _ in listed]
        each = [sorted(t) for _, t in listed]
        row |= {
            f"{kind}_count": [len(t) for t in each],
            f"{kind}_last_days": [t[0] + 0.5 for t in each],
            f"{kind}_first_days": [t[-1] + 0.5 for t in each],
            f"{kind}_previous_days": [t[1] + 0.5 if len(t) > 1 else None for t in each],
            f"{kind}_decayed_1x": [sum(0.5 ** (a / HORIZON) for a in t) for t in each],
            f"{kind}_decayed_4x": [sum(0.5 ** (a / 4 / HORIZON) for a in t) for t in each],
            f"{kind}_decayed_16x": [sum(0.5 ** (a / 16 / HORIZON) for a in t) for t in each],
            f"{kind}_last_visits": [sum(d < t[0] for d in days) for t in each],
            f"{kind}_first_visits": [sum(d <= t[-1] for d in days) for t in each],
            f"{kind}_value": [1.0 for _ in each],
        }
    return row


def _item(name: str, rows: list[tuple[str, int]]) -> dict[str, object]:
    row: dict[str, object] = {"item_id": name, **{k: KEYS[k](name) for k in ("category", "subcategory", "brand")}}
    row |= {f"users_{step}": len({u for u, ago in rows if within(ago, step)}) for step in STEPS}
    row["expected_demand"] = sum(0.5 ** (ago / HORIZON) for _, ago in rows) / 1000  # any forecast will do
    if rows:
        ages = [ago for _, ago in rows]
        row |= {"days_since_last_event": min(ages) + 0.5, "days_since_first_event": max(ages) + 0.5}
        days: dict[str, set[int]] = defaultdict(set)
        for u, ago in rows:
            days[u].add(ago)
        spans = [(max(d) - min(d), len(d) - 1) for d in days.values() if len(d) > 1]
        row["repeat_share"] = len(spans) / len(days)
        row["mean_gap_days"] = sum(s for s, _ in spans) / sum(n for _, n in spans) if spans else None
        row |= {"visits_per_user": sum(map(len, days.values())) / len(days), "price": 2.0, "recent_price": 2.0}
    for group, letter in (("context", "x"), ("segment", "g")):
        row[f"{group}_name"] = [f"{letter}{p}" for p in (0, 1)]
        for step in GROUP_STEPS:
            users = [{u for u, ago in rows if within(ago, step) and number(u) % 2 == p} for p in (0, 1)]
            row[f"{group}_users_{step}"] = [len(each) for each in users]
    return row
