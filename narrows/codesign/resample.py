"""Percentile intervals of what is added up over positions, by drawing whole clusters with replacement."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from narrows.bootstrap import resampled


def ratio_intervals(
    clusters: NDArray[np.intp],
    strata: NDArray[np.intp],
    top: NDArray[np.float64],
    bottom: NDArray[np.float64],
    sizes: NDArray[np.float64],
    resamples: int,
    seed: int,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """The interval of ``sum over strata of sizes * (sum top / sum bottom)``.

    Args:
        clusters: [rows], from 0: what is drawn as a whole.
        strata: [rows], from 0: what is divided by itself.
        top: [rows]
        bottom: [rows]
        sizes: [strata]
        resamples: how many.
        seed: of the draws.
        confidence: the share of the resamples inside.
    """
    count, kinds = int(clusters.max()) + 1, len(sizes)
    sums = np.zeros((count, 2, kinds))
    np.add.at(sums[:, 0], (clusters, strata), top)
    np.add.at(sums[:, 1], (clusters, strata), bottom)
    above, below = np.hsplit(resampled(sums.reshape(count, -1), resamples, np.random.default_rng(seed)), 2)
    values = np.divide(above, below, out=np.zeros_like(above), where=below > 0) @ sizes
    low, high = np.percentile(values, [50 * (1 - confidence), 50 * (1 + confidence)])
    return float(low), float(high)
