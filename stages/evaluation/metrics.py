"""Ranking metrics per user, out of one matrix of hits."""

from __future__ import annotations

import numpy as np

from narrows.metrics import discount, normalized

METRICS = ("recall", "ndcg", "mrr", "hit_rate")


def per_user(hits: np.ndarray, positives: np.ndarray, k: int) -> dict[str, np.ndarray]:
    """The metrics of every user's first ``k`` places.

    Args:
        hits: bool (users, depth): whether place ``p + 1`` of the user's list holds a positive; a missing
            place, and a missing list, is no hit.
        positives: int (users,): how many positives the user has, at least 1.
        k: the cut-off.

    Returns:
        f64 (users,) each, in [0, 1]:

        - recall: ``hits / min(k, positives)``;
        - ndcg: binary gain, ``sum 1/log2(p + 1)`` over hits, divided by the same sum over the first
          ``min(k, positives)`` places (Järvelin & Kekäläinen 2002, with the ideal list cut at k);
        - mrr: ``1 / place of the first hit``, 0 without one;
        - hit_rate: 1 if there is any hit.

    Raises:
        ValueError: ``k`` is below 1, or a user has no positive.
    """
    if k < 1:
        raise ValueError(f"k is {k}; a cut-off is at least 1")
    if len(positives) and positives.min() < 1:
        raise ValueError("a user without a positive cannot be judged; leave it out of the population")
    hits = hits[:, :k]
    best = np.minimum(k, positives)
    gain = discount(np.arange(1, k + 1))
    any_hit = hits.any(axis=1)
    first = hits.argmax(axis=1) + 1 if hits.shape[1] else np.ones(len(hits))
    return {
        "recall": hits.sum(axis=1) / best,
        "ndcg": normalized(hits @ gain[: hits.shape[1]], positives, k),
        "mrr": np.where(any_hit, 1 / first, 0.0),
        "hit_rate": any_hit.astype(float),
    }


def coverage(items: np.ndarray, catalogue: int) -> float:
    """Distinct items in the lists divided by the items of the catalogue; ``items`` are codes, -1 = not in it."""
    return float(len(np.unique(items[items >= 0])) / max(catalogue, 1))


def self_information(item_users: np.ndarray, users: int) -> np.ndarray:
    """Bits of surprise of each item: ``-log2(share of users who have it)``, an item nobody has counting as
    one user's.

    Args:
        item_users: int (items,): users of each item.
        users: all users.
    """
    return -np.log2(np.clip(item_users, 1, users) / max(users, 1))
