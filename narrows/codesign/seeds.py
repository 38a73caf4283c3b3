"""Intervals over users and seeds together: both are drawn again, so that a design that was lucky once does not win."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from narrows.bootstrap import resampled
from narrows.codesign.log import Array

RESAMPLES = 2000


@dataclass(frozen=True)
class Interval:
    """A mean with the bounds of its 95% interval."""

    value: float
    low: float
    high: float

    @property
    def clear(self) -> bool:
        """Whether 0 is outside."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Judged:
    """A design's metric, summed for each user: what a resample needs."""

    top: Array
    """float64 [users, seeds]: the sum over the user's judged requests, by their weights."""
    count: Array
    """float64 [users, seeds]: the sum of their weights."""

    @classmethod
    def of(cls, values: Sequence[Array], user: Array, weight: Array | None = None) -> Judged:
        """Out of the values of each seed.

        Args:
            values: for each seed float64 [requests]; NaN = the request is not judged.
            user: int64 [requests]
            weight: float64 [requests], 1 / the probability that the sample has the request; None = 1 each.
        """
        weight = np.ones(len(user)) if weight is None else weight
        who = np.unique(user, return_inverse=True)[1]
        there = [np.isfinite(each) for each in values]
        top = [np.bincount(who, np.where(one, each * weight, 0)) for one, each in zip(there, values, strict=True)]
        return cls(np.stack(top, 1), np.stack([np.bincount(who, one * weight) for one in there], 1))


def drawn(judged: Sequence[Judged], resamples: int = RESAMPLES, seed: int = 0) -> Array:
    """float64 [designs, resamples]: each design's mean, on the same resampled users and the same resampled seeds.

    Users are drawn as in `resampled`, seeds with replacement (Efron 1979). Designs must have the
    same users and numbers of seeds.
    """
    random, seeds = np.random.default_rng(seed), judged[0].top.shape[1]
    sums = np.hstack([part for each in judged for part in (each.top, each.count)])
    top, count = resampled(sums, resamples, random).reshape(resamples, len(judged), 2, seeds).transpose(2, 1, 0, 3)
    share = np.divide(top, count, out=np.full_like(top, np.nan), where=count > 0)
    times = random.multinomial(seeds, np.full(seeds, 1 / seeds), resamples) / seeds
    return np.asarray(np.nansum(share * times, axis=2))


def means(judged: Sequence[Judged]) -> Array:
    """float64 [designs]: the mean over requests and seeds."""
    return np.array([float(np.mean(each.top.sum(0) / np.maximum(each.count.sum(0), 1e-12))) for each in judged])


def interval(value: float, draws: Array) -> Interval:
    """The percentile interval of what was drawn."""
    low, high = np.percentile(draws, [2.5, 97.5])
    return Interval(float(value), float(low), float(high))
