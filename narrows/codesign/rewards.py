"""A reward model without features: the smoothed rate of every action and position, for doubly robust estimates."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def smoothed_rates(
    action: NDArray[np.int64],
    position: NDArray[np.int64],
    reward: NDArray[np.float64],
    fold: NDArray[np.int64],
    actions: int,
    *,
    strength: float = 100.0,
) -> NDArray[np.float64]:
    """[folds, positions, actions]: rates learned from all other folds, so that no row predicts its own reward.

    A rate is a mean drawn towards the mean of its position with the weight of ``strength`` rows; that one is the prior mean
    of an action that the other folds never showed there. Cross-fitting keeps the doubly robust estimator unbiased
    (Chernozhukov et al. 2018).

    Args:
        action: [rows], from 0 up to ``actions``.
        position: [rows], from 0.
        reward: [rows]
        fold: [rows], from 0; rows of one round belong into one fold.
        actions: how many there are.
        strength: rows that the prior counts.
    """
    folds, positions = int(fold.max()) + 1, int(position.max()) + 1
    if folds < 2:
        raise ValueError("cross-fitting needs 2 folds or more")
    shape = (folds, positions, actions)
    count, total = np.zeros(shape), np.zeros(shape)
    np.add.at(count, (fold, position, action), 1.0)
    np.add.at(total, (fold, position, action), reward)
    count, total = count.sum(0) - count, total.sum(0) - total
    seen = count.sum(2, keepdims=True)
    prior = np.divide(total.sum(2, keepdims=True), seen, out=np.zeros_like(seen), where=seen > 0)
    return (total + strength * prior) / (count + strength)
