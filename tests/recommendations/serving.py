"""A small release for the tests of recommendations."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from narrows.asof import Asof
from narrows.serving import publication
from narrows.serving.releases import newest_first
from stages.recommendations import lists
from stages.recommendations.fallback import fallback_lists

ASOF = Asof.parse("2017-11-30")
WEEK = timedelta(days=7)
MADE = datetime(2017, 12, 1, 3, tzinfo=UTC)
USERS = pa.table({"user_id": ["u0", "u1", "u2"], "segment": pa.array(["young", None, "old"])})
ITEMS = pa.table(
    {
        "item_id": [f"i{j}" for j in range(6)],
        "users_1x": pa.array([0, 1, 3, 3, 2, 0], pa.int32()),
        "users_4x": pa.array([9, 1, 3, 4, 2, 8], pa.int32()),
        "segment_name": [["old", "young"], ["young"], None, ["old"], [], ["young"]],
        "segment_users_4th": pa.array([[0, 0], [0], None, [0], [], [0]], pa.list_(pa.int32())),
        "segment_users_1x": pa.array([[0, 0], [0], None, [0], [], [0]], pa.list_(pa.int32())),
        "segment_users_4x": pa.array([[1, 2], [0], None, [1], [], [2]], pa.list_(pa.int32())),
        "segment_users_16x": pa.array([[1, 3], [1], None, [2], [], [2]], pa.list_(pa.int32())),
    }
)


def release(
    name: str = "r1", asof: Asof = ASOF, places: dict[str, list[str]] | None = None, grace: float = 0.0
) -> tuple[pa.Table, pa.Table]:
    """Rows and fallback rows of a release in which ``places`` are the users' lists."""
    places = places or {"u0": ["i0", "i1", "i2"], "u1": ["i3", "i4"]}
    made = [(user, item, rank) for user, items in places.items() for rank, item in enumerate(items, start=1)]
    listed = pa.table(
        {
            "user_id": [user for user, _, _ in made],
            "item_id": [item for _, item, _ in made],
            "rank": pa.array([rank for _, _, rank in made], pa.int32()),
            "score": [1 / rank for _, _, rank in made],
            "propensity": [1.0] * len(made),
            "reason": ["popular"] * len(made),
        }
    )
    named: dict[str, Any] = {"scene": "home", "release_id": name, "batch_id": str(asof)}
    rows = lists.rows(listed, USERS, **named, expires_at=lists.expiry(asof, WEEK, grace))
    return rows, fallback_lists(ITEMS, USERS, ITEMS["item_id"].combine_chunks(), "1x", "home", 4)


def publish(engine: Any, name: str = "r1", asof: Asof = ASOF, **changes: Any) -> dict[str, Any]:
    """Publish a release as of ``asof``, made three hours after its end."""
    places = changes.pop("places", None)
    rows, fallback = release(name, asof, places)
    given = {"asof": asof, "created_at": MADE + (asof - ASOF), "clock": "asof", **changes}
    return publication.publish(engine, {"name": name}, rows, fallback, **given)


def many(users: int, n: int, name: str = "big") -> pa.Table:
    """Rows of many users."""
    rows = users * n
    return pa.table(
        {
            "release_id": [name] * rows,
            "batch_id": ["b"] * rows,
            "scene": ["home"] * rows,
            "user_id": [f"user{u:06d}" for u in np.repeat(np.arange(users), n)],
            "rank": pa.array(np.tile(np.arange(1, n + 1), users), pa.int32()),
            "item_id": [f"item{i}" for i in np.tile(np.arange(n), users)],
            "score": np.full(rows, 0.5),
            "propensity": np.ones(rows),
            "reason": ["popular"] * rows,
            "segment": pa.nulls(rows, pa.string()),
            "expires_at": pa.repeat(pa.scalar(lists.expiry(ASOF, WEEK, 0), pa.timestamp("us", "UTC")), rows),
        }
    )


def releases(engine: Any) -> list[dict[str, Any]]:
    """Every release that is there, newest first."""
    with engine.connect() as connection:
        return [dict(row._mapping) for row in newest_first(connection)]


def of(table: pa.Table, segment: str) -> list[str]:
    """The items of a fallback list, in order."""
    return [row["item_id"] for row in table.to_pylist() if row["segment"] == segment]
