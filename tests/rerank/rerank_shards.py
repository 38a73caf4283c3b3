"""Small shards for the tests of rerank."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from narrows.stage import Asof, Narrowed, Shard

ASOF = Asof.parse("2017-11-30")


def shard(scores: list[list[float]], categories: list[str | None], segments: list[str | None] | None = None) -> Shard:
    """User ``u<i>`` with candidates ``i0, i1, ...`` of these scores; item ``i<j>`` has ``categories[j]``."""
    users = [f"u{row}" for row in range(len(scores))]
    rows = [(user, f"i{j}", s) for user, row in zip(users, scores, strict=True) for j, s in enumerate(row)]
    rank = [r for row in scores for r in np.argsort(np.argsort([-s for s in row], kind="stable")) + 1]
    candidates = pa.table(
        {
            "user_id": pa.array([user for user, _, _ in rows], pa.string()),
            "item_id": pa.array([item for _, item, _ in rows], pa.string()),
            "recall_reason": pa.array(["because_history" if j % 2 else None for j in range(len(rows))], pa.string()),
            "rank_score": pa.array([s for _, _, s in rows], pa.float32()),
            "rank_rank": pa.array(rank, pa.int32()),
        }
    )
    items = pa.table(
        {
            "item_id": [f"i{j}" for j in range(len(categories))],
            "category": pa.array(categories, pa.string()),
            "subcategory": pa.nulls(len(categories), pa.string()),
            "brand": [f"b{j % 2}" for j in range(len(categories))],
        }
    )
    profiles = pa.table(
        {
            "user_id": pa.array(users, pa.string()),
            "segment": pa.array(segments or [None] * len(users), pa.string()),
        }
    )
    return Shard(profiles, items, candidates, ASOF)


def lists(narrowed: Narrowed) -> dict[str, list[str]]:
    """Each user's items in list order."""
    items: dict[str, list[str]] = {}
    for row in narrowed.survivors.sort_by([("user_id", "ascending"), ("rank", "ascending")]).to_pylist():
        items.setdefault(row["user_id"], []).append(row["item_id"])
    return items


def reasons(narrowed: Narrowed) -> dict[str, str]:
    """The reason of every candidate, by item (for shards of one user)."""
    return {
        row["item_id"]: row["reason"] for part in (narrowed.survivors, narrowed.removed) for row in part.to_pylist()
    }
