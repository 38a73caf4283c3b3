"""What another policy would have earned, from a log of shown items, their rewards and their propensities.

A log has rows: at one position of one round an action was shown and earned a reward. With the probability that the logging
policy showed this action at this position, and the probability that the evaluated policy would have, each estimator
gives the evaluated policy's expected reward a round, with an interval and the effective sample size. Rewards
must depend on the action and its position alone, not on the rest of the list (the item-position model, Li et al. 2018).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from narrows.codesign.errors import CodesignError
from narrows.codesign.resample import ratio_intervals

Array = NDArray[np.float64]
NORMAL_95 = 1.959963984540054
CLIP = 10.0
"""Default largest weight of `clipped`, and the largest that `switch` trusts."""


class OffPolicyError(CodesignError):
    """A log that cannot be evaluated: the message says what to do."""


@dataclass(frozen=True)
class Logged:
    """Rows of a log, in any order; arrays [rows]."""

    round: NDArray[np.int64]
    """Which round (request, session) the row belongs to."""
    position: NDArray[np.int64]
    reward: Array
    propensity: Array
    """The probability that the logging policy shows this action at this position, given the context; above 0."""
    evaluated: Array
    """The same probability under the evaluated policy."""
    cluster: NDArray[np.int64] | None = None
    """What is independent of what: the user of the row, say; None = the rounds are."""
    predicted: Array | None = None
    """A reward model's prediction for the action and position of the row: `doubly_robust`, `switch` and `direct` need it."""
    expected: Array | None = None
    """The model's expected reward at this position under the evaluated policy: sum over actions of probability times prediction."""

    def __post_init__(self) -> None:
        rows = len(self.reward)
        for name in self.__dataclass_fields__:
            column = getattr(self, name)
            if column is None:
                continue
            if len(column) != rows or np.ndim(column) != 1:
                raise OffPolicyError(f"{name} has {np.shape(column)} values for {rows} rewards: give one a row")
            if not np.isfinite(column).all():
                raise OffPolicyError(f"{name} has a value that is no number: leave such rows out")
        if not rows:
            raise OffPolicyError("the log has no rows")
        if (np.asarray(self.propensity) <= 0).any() or (np.asarray(self.propensity) > 1 + 1e-9).any():
            raise OffPolicyError("propensity must lie above 0 and not above 1: log the probability of what was shown")
        if (np.asarray(self.evaluated) < 0).any() or (np.asarray(self.evaluated) > 1 + 1e-9).any():
            raise OffPolicyError("evaluated must lie from 0 to 1: it is a probability")
        if (self.predicted is None) != (self.expected is None):
            raise OffPolicyError("predicted and expected come from one reward model: give both or neither")

    @cached_property
    def weight(self) -> Array:
        """The importance weights, evaluated / propensity."""
        return np.asarray(self.evaluated, float) / np.asarray(self.propensity, float)

    @cached_property
    def rounds(self) -> int:
        """How many rounds there are."""
        return len(np.unique(self.round))

    @cached_property
    def clusters(self) -> NDArray[np.intp]:
        """The number of each row's cluster, from 0."""
        return np.unique(self.round if self.cluster is None else self.cluster, return_inverse=True)[1]

    @cached_property
    def strata(self) -> NDArray[np.intp]:
        """The number of each row's position, from 0."""
        return np.unique(self.position, return_inverse=True)[1]


@dataclass(frozen=True)
class Estimate:
    """The value of the evaluated policy: expected reward a round."""

    estimator: str
    value: float
    low: float
    """Of the 95% interval."""
    high: float
    effective_size: float
    """Rows that would say as much if every weight were 1: (sum w)^2 / sum w^2 of the weights that the estimator uses (Kish 1965)."""
    rows: int
    largest_weight: float

    def covers(self, value: float) -> bool:
        """Whether the interval holds a value."""
        return self.low <= value <= self.high


Parts = tuple[Array, Array | None, Array]
"""What an estimator adds up [rows], what it divides each position's sum by (None: nothing), and the weights it used."""


def ips(log: Logged, clip: float) -> Parts:
    """Inverse propensity score (Horvitz and Thompson 1952): mean of w r. Unbiased where evaluated > 0 implies propensity > 0."""
    return log.weight * log.reward, None, log.weight


def clipped(log: Logged, clip: float) -> Parts:
    """IPS with weights of at most ``clip`` (Ionides 2008): biased down, bounded variance."""
    weight = np.minimum(log.weight, clip)
    return weight * log.reward, None, weight


def snips(log: Logged, clip: float) -> Parts:
    """Self-normalised IPS (Swaminathan and Joachims 2015), each position by itself: sum of w r over sum of w."""
    return log.weight * log.reward, log.weight, log.weight


def doubly_robust(log: Logged, clip: float) -> Parts:
    """Doubly robust (Dudik et al. 2011): expected + w (r - predicted)."""
    predicted, expected = _model(log, "doubly_robust")
    return expected + log.weight * (log.reward - predicted), None, log.weight


def switch(log: Logged, clip: float) -> Parts:
    """SWITCH-DR (Wang et al. 2017): doubly robust where w <= ``clip``, else the model alone."""
    predicted, expected = _model(log, "switch")
    weight = np.where(log.weight <= clip, log.weight, 0.0)
    return expected + weight * (log.reward - predicted), None, weight


def direct(log: Logged, clip: float) -> Parts:
    """The model's expectation alone; its interval says nothing of the model's bias."""
    return _model(log, "direct")[1], None, np.ones(len(log.reward))


ESTIMATORS: dict[str, Callable[[Logged, float], Parts]] = {
    "ips": ips, "snips": snips, "clipped": clipped, "doubly_robust": doubly_robust, "switch": switch, "direct": direct,
}  # fmt: skip
NEED_MODEL = ("doubly_robust", "switch", "direct")


def estimate(log: Logged, estimator: str, *, clip: float = CLIP, bootstrap: int = 0, seed: int = 0) -> Estimate:
    """The value of the evaluated policy by one estimator, with a 95% interval.

    Args:
        log: the rows.
        estimator: a name of `ESTIMATORS`.
        clip: the largest weight of ``clipped``, and that ``switch`` trusts.
        bootstrap: resamples of clusters for a percentile interval; 0 = the normal interval of the influence values.
        seed: of the resamples.

    Raises:
        OffPolicyError: no such estimator, or it needs a reward model that the log has not.
    """
    if estimator not in ESTIMATORS:
        raise OffPolicyError(f"there is no estimator {estimator!r}: there are {', '.join(ESTIMATORS)}")
    top, bottom, used = ESTIMATORS[estimator](log, clip)
    sizes = np.bincount(log.strata) / log.rounds  # rows of each position a round: 1 where every round fills it
    if bottom is None:
        bottom = np.ones(len(top))
    tops, bottoms = np.bincount(log.strata, top), np.bincount(log.strata, bottom)
    if (bottoms <= 0).any():
        raise OffPolicyError("at some position no shown action is one of the evaluated policy: nothing can be said")
    value = float(sizes @ (tops / bottoms))
    count = log.clusters.max() + 1
    if bootstrap:
        low, high = ratio_intervals(log.clusters, log.strata, top, bottom, sizes, bootstrap, seed)
    else:
        influence = (sizes / bottoms)[log.strata] * (top - bottom * (tops / bottoms)[log.strata])
        spread = np.bincount(log.clusters, influence)
        error = float(np.sqrt((spread**2).sum() * count / max(count - 1, 1)))
        low, high = value - NORMAL_95 * error, value + NORMAL_95 * error
    squares = float((used**2).sum())
    size = float(used.sum()) ** 2 / squares if squares else 0.0
    return Estimate(estimator, value, low, high, size, len(top), float(used.max()))


def every(log: Logged, *, clip: float = CLIP, bootstrap: int = 0, seed: int = 0) -> list[Estimate]:
    """Every estimator that the log allows."""
    names = [name for name in ESTIMATORS if log.predicted is not None or name not in NEED_MODEL]
    return [estimate(log, name, clip=clip, bootstrap=bootstrap, seed=seed) for name in names]


def _model(log: Logged, name: str) -> tuple[Array, Array]:
    if log.predicted is None or log.expected is None:
        raise OffPolicyError(f"{name} needs the columns predicted and expected of a reward model")
    return log.predicted, log.expected
