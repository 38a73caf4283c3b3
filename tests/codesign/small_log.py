"""A small flow log of random numbers."""

from dataclasses import replace

import numpy as np

from narrows.codesign.log import FlowLog


def small_log(requests: int = 40, users: int = 10, truth: bool = False, seed: int = 0) -> FlowLog:
    """Requests of 3 to 9 candidates, a minute apart; three stages; columns a and b, of which the ranker alone sees b."""
    random = np.random.default_rng(seed)
    sizes = random.integers(3, 10, requests)
    rows = int(sizes.sum())
    features = random.normal(size=(rows, 2)).astype(np.float32)
    features[random.random((rows, 2)) < 0.1] = np.nan
    reached = random.integers(1, 4, rows).astype(np.int8)
    value = random.random(rows)
    return FlowLog(
        stages=("recall", "prerank", "rank"), columns=("a", "b"), seen_from=np.array([0, 1], np.int8),
        bounds=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        user=random.integers(0, users, requests), time=60 * np.arange(requests),
        sequence=random.integers(0, 20, (requests, 5)).astype(np.int32),
        item=random.integers(1, 20, rows).astype(np.int32), features=features, reached=reached,
        label=((random.random(rows) < 0.3) & (reached == 3)).astype(np.float32),
        weight=(1 + random.random(rows)).astype(np.float32),
        score=random.normal(size=(rows, 3)).astype(np.float32), rank=random.integers(0, 9, (rows, 3)).astype(np.int32),
        value=value if truth else None, examined=1 / np.arange(1, 4.0) if truth else None,
        oracle=np.sort(random.random((requests, 3)))[:, ::-1].copy() if truth else None,
    )  # fmt: skip


def with_channels(requests: int = 120, users: int = 20, truth: bool = True) -> FlowLog:
    """The small log, a candidate of which popular and near may have given."""
    log = small_log(requests, users, truth)
    ranks = np.random.default_rng(9).integers(0, 5, (len(log.item), 2)).astype(np.int32)
    return replace(log, channels=("popular", "near"), channel_rank=ranks)
