"""Percentile intervals of what is added up over positions, by drawing whole clusters with replacement."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BLOCK = 2048
"""Clusters whose draws are in memory at once."""


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

    A resample draws each cluster Poisson(1) times (Chamandy et al. 2012).

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
    sums = np.zeros((2, count, kinds))
    np.add.at(sums[0], (clusters, strata), top)
    np.add.at(sums[1], (clusters, strata), bottom)
    drawn = np.zeros((2, resamples, kinds))
    random = np.random.default_rng(seed)
    for first in range(0, count, BLOCK):
        part = sums[:, first : first + BLOCK]
        times = random.poisson(1.0, (resamples, part.shape[1])).astype(float)
        drawn += times @ part
    values = np.divide(drawn[0], drawn[1], out=np.zeros_like(drawn[0]), where=drawn[1] > 0) @ sizes
    low, high = np.percentile(values, [50 * (1 - confidence), 50 * (1 + confidence)])
    return float(low), float(high)
