"""Intervals by resampling users."""

from __future__ import annotations

import math

import numpy as np

BLOCK = 4096
"""Users whose weights are in memory at once."""
DRAWS = 1 << 16
"""Equally likely numbers, each of which stands for a Poisson(1) draw."""
TIMES = np.searchsorted(
    np.cumsum([math.exp(-1) / math.factorial(k) for k in range(20)]), (np.arange(DRAWS) + 0.5) / DRAWS
).astype(float)
"""f64 (DRAWS,): the draw that each number stands for (inverse transform); the mean is 1 to five digits."""


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
    drawing = Resampling(resamples, confidence, seed)
    drawing.add(top, bottom)
    return drawing.intervals()


class Resampling:
    """`intervals` of users who come part by part; how they are parted changes nothing.

    Args:
        resamples: how many times to draw.
        confidence: the share of resamples inside the interval.
        seed: of the draws.
    """

    def __init__(self, resamples: int = 1000, confidence: float = 0.95, seed: int = 0) -> None:
        self._resamples, self._confidence = resamples, confidence
        self._random = np.random.default_rng(seed)
        self._sums = self._drawn = np.zeros(0)
        self._rest: np.ndarray | None = None

    def add(self, top: np.ndarray, bottom: np.ndarray | None = None) -> None:
        """More users; ``top`` and ``bottom`` as in `intervals`."""
        both = np.hstack([top, np.ones_like(top, dtype=float) if bottom is None else bottom])
        self._sums = self._sums + both.sum(axis=0) if self._sums.size else both.sum(axis=0)
        both = both if self._rest is None else np.vstack([self._rest, both])
        full = len(both) // BLOCK * BLOCK
        drawn = resampled(both[:full], self._resamples, self._random)
        self._drawn = self._drawn + drawn if self._drawn.size else drawn
        self._rest = both[full:].copy()

    def intervals(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Value, low, high of all users so far; nothing can be added after."""
        if self._rest is None:
            raise ValueError("no users were added, so there are no columns to give intervals of.")
        above, below = np.hsplit(self._drawn + resampled(self._rest, self._resamples, self._random), 2)
        value, drawn = _ratio(*np.hsplit(self._sums, 2)), _ratio(above, below)
        low, high = np.full((2, len(value)), np.nan)
        some_drawn = np.isfinite(drawn).any(axis=0) & np.isfinite(value)
        tail = 100 * (1 - self._confidence) / 2
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
        drawn += TIMES[random.integers(0, DRAWS, (resamples, len(some)), np.uint16)] @ some
    return drawn


def _ratio(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    return np.divide(top, bottom, out=np.full_like(top, np.nan, dtype=float), where=bottom > 0)
