"""Intervals by resampling users."""

from __future__ import annotations

import numpy as np

BLOCK = 4096
"""Users whose weights are in memory at once."""


def intervals(
    top: np.ndarray,
    bottom: np.ndarray | None = None,
    *,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean over users, or a ratio of sums over users, with a percentile bootstrap interval (Efron 1979).

    Equal seeds and user counts draw equal users, so columns are comparable.

    Args:
        top: f64 (users, columns): each user's value, or its part of a numerator.
        bottom: f64 (users, columns): its part of the denominator; None = 1 for every user.
        resamples: how many times to draw.
        confidence: the share of resamples inside the interval.
        seed: of the draws.

    Returns:
        value, low, high: f64 (columns,); nan where the denominator is 0.
    """
    bottom = np.ones_like(top, dtype=float) if bottom is None else bottom
    both = resampled(np.hstack([top, bottom]), resamples, np.random.default_rng(seed))
    above, below = np.hsplit(both, 2)
    value = _ratio(top.sum(axis=0), bottom.sum(axis=0))
    drawn = _ratio(above, below)
    low, high = np.full((2, top.shape[1]), np.nan)
    some_drawn = np.isfinite(drawn).any(axis=0) & np.isfinite(value)
    tail = 100 * (1 - confidence) / 2
    if some_drawn.any():
        low[some_drawn], high[some_drawn] = np.nanpercentile(drawn[:, some_drawn], [tail, 100 - tail], axis=0)
    return value, low, high


def resampled(sums: np.ndarray, resamples: int, random: np.random.Generator) -> np.ndarray:
    """The column sums of resamples, f64 (resamples, columns), of f64 (users, columns).

    A resample draws each user Poisson(1) times, which for many users is the multinomial draw and needs no second pass
    (Chamandy et al. 2012).
    """
    drawn = np.zeros((resamples, sums.shape[1]))
    for start in range(0, len(sums), BLOCK):
        some = sums[start : start + BLOCK]
        drawn += random.poisson(1.0, (resamples, len(some))).astype(float) @ some
    return drawn


def _ratio(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    return np.divide(top, bottom, out=np.full_like(top, np.nan, dtype=float), where=bottom > 0)
