"""A run small enough to read, three users and seven items, and its tables as published partitions."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from narrows.asof import Asof
from narrows.stage import Flow, Recent, Table, Truth

ASOF = Asof.parse("2020-01-01")


def pairs(text: str) -> pa.Table:
    """``"a1 a2"`` is user a with items 1 and 2; ranks count from 1 within a user."""
    rows = [(word[0], word[1:]) for word in text.split()]
    ranks = [sum(other[0] == user for other in rows[: at + 1]) for at, (user, _) in enumerate(rows)]
    columns = {"user_id": [user for user, _ in rows], "item_id": [item for _, item in rows], "rank": ranks}
    return pa.table(columns, pa.schema([("user_id", "string"), ("item_id", "string"), ("rank", "int32")]))


def room(kept: str, removed: str = "", **ranks: dict[str, int]) -> pa.Table:
    """A room's table; ``removed`` words carry a reason: ``a3=quota``; ``ranks`` map words to values."""
    words = kept.split() + [word.split("=")[0] for word in removed.split()]
    reasons = [None] * len(kept.split()) + [word.split("=")[1] for word in removed.split()]
    table = pairs(" ".join(words)).drop_columns("rank")
    table = table.append_column("kept", pa.array([not reason for reason in reasons], pa.bool_()))
    table = table.append_column("reason", pa.array(reasons, pa.string()))
    for name, values in ranks.items():
        kind = pa.float32() if name.endswith("score") else pa.int32()
        table = table.append_column(name, pa.array([values.get(word) for word in words], kind))
    return table


TRUTH = pairs("a1 a2 a3 a4 a5 a9 b1 c1")
USERS = pa.table(
    {
        "user_id": ["a", "b", "d"],
        "segment": pa.array(["old", None, "old"]),
        "history_item": [["1", "2"], ["2"], []],
        "history_count": pa.array([[3, 1], [2], []], pa.list_(pa.int32())),
        "history_last_days": pa.array([[0.5, 9.0], [1.0], []], pa.list_(pa.float32())),
        "history_decayed_16x": pa.array([[2.5, 0.5], [1.5], []], pa.list_(pa.float32())),
    }
)
ITEMS = pa.table(
    {
        "item_id": [str(item) for item in range(1, 8)],
        "title": [f"title {item}" for item in range(1, 8)],
        "users_1x": pa.array([3, 2, 1, 0, 0, 0, 0], pa.int32()),
        "users_4x": pa.array([3, 3, 3, 3, 2, 1, 0], pa.int32()),
        "users_64x": pa.array([3, 3, 3, 3, 2, 1, 0], pa.int32()),
    }
)
FIRST = {"a1": 1, "a2": 2, "a3": 3, "a4": 4, "a6": 5, "b2": 1}
ROOMS = {
    "recall": room(
        "a1 a2 a3 a6 b2", "a4=quota", own_score=dict.fromkeys(FIRST, 1), own_rank=FIRST, recall_rank=FIRST
    ),
    "prerank": room(
        "a1 a2 a6 b2", "a3=prerank_cut", recall_rank=FIRST, prerank_rank={**FIRST, "a6": 3, "a3": 4}
    ),
    "rank": room(
        "a1 a2 a6 b2", prerank_rank={**FIRST, "a6": 3}, rank_rank={**FIRST, "a6": 3},
        rank_score={"a1": 0.9, "a2": 0.5, "a6": 0.1, "b2": 0.5},
    ),
    "rerank": room(
        "a1 a6 b2", "a2=policy:cap:milk", rank_rank={**FIRST, "a6": 3}, rank={"a1": 1, "a6": 2, "b2": 1},
        rank_after_diversity={"a1": 1, "a2": 2, "b2": 1},
    ),
}  # fmt: skip
PUBLISHED = pairs("a1 a6 b2")


def publish(root: Path, name: str, table: pa.Table, kind: type[Table] = Table) -> Table:
    """Write a table where a handle finds it."""
    folder = root / name / "data"
    folder.mkdir(parents=True)
    pq.write_table(table, folder / "part-00000.parquet")
    return kind(name, ASOF, "v", root / name, {"rows": table.num_rows})


def handles(root: Path, published: pa.Table = PUBLISHED, truth: pa.Table = TRUTH) -> dict[str, Any]:
    """All that the room reads; events also hold the as-of's own day and the day after the horizon."""
    inside, day = truth.drop_columns("rank"), datetime(2020, 1, 5, tzinfo=UTC)
    parts = [(inside, day), (pairs("a7"), datetime(2020, 1, 1, 23, tzinfo=UTC))]
    parts += [(pairs("a7"), datetime(2020, 1, 9, tzinfo=UTC)), (inside.slice(0, 1), day)]
    stamp = pa.timestamp("us", "UTC")
    events = pa.concat_tables(
        part.select(["user_id", "item_id"])
        .append_column("event_time", pa.array([at] * part.num_rows, stamp))
        .append_column("known", pa.array([at.date().isoformat()] * part.num_rows, pa.string()))
        for part, at in parts
    )
    scene = published.append_column("scene", pa.array(["home"] * published.num_rows, pa.string()))
    other = pairs("a7").append_column("scene", pa.array(["cart"]))
    tables = {
        **ROOMS,
        "user_profiles": USERS,
        "item_profiles": ITEMS,
        "recommendations": pa.concat_tables([scene, other]),
    }
    found = {name: publish(root, name, table) for name, table in tables.items()}
    flow = Flow({name: found.pop(name) for name in ROOMS})
    found["item_profiles"] = Recent({ASOF: found["item_profiles"]})
    return {**found, "flow": flow, "events": publish(root, "events", events, Truth)}
