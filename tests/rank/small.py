"""Candidates and examples of the small shard of `tests.recall.tiny`: every pair, with what prerank and rank read."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pyarrow as pa

from features.lookup import Pairs
from features.pair import FEATURES, matrix
from narrows.stage import Shard
from tests.recall.tiny import ASOF, random_rows, shard

DAYS = [ASOF - timedelta(days=14), ASOF - timedelta(days=7)]


def candidates(asked: Shard) -> pa.Table:
    """Every pair, with a prerank score that knows nothing."""
    users, items = asked.users["user_id"].to_pylist(), asked.items["item_id"].to_pylist()
    count = len(users) * len(items)
    noise = np.random.default_rng(0).normal(size=count).astype(np.float32)
    columns = {"user_id": np.repeat(users, len(items)), "item_id": items * len(users), "prerank_score": noise}
    return pa.table({**columns, "prerank_rank": pa.array([*range(1, len(items) + 1)] * len(users), pa.int32())})


def examples(asked: Shard, scored: bool = True) -> pa.Table:
    """Two windows of all pairs; label 1 where the user had the item on five days or more."""
    pairs = candidates(asked)
    values = matrix(Pairs(asked.users, asked.items, pairs), tuple(FEATURES))
    columns = {**{n: pairs[n] for n in pairs.column_names}, **dict(zip(FEATURES, values.T, strict=True))}
    label = (np.nan_to_num(columns["history_count"]) >= 5).astype(np.int32)
    if not scored:
        columns |= {n: pa.nulls(len(label), pairs[n].type) for n in ("prerank_score", "prerank_rank")}
    more = {"label": label, "weight": np.ones(len(label), np.float32), "label_weight": np.ones(len(label), np.float32)}
    return pa.concat_tables([pa.table({**columns, **more, "asof": [str(day)] * len(label)}) for day in DAYS])


def small_shard() -> Shard:
    """The shard with every pair as candidates."""
    small = shard(random_rows())
    return replace(small, candidates=candidates(small))
