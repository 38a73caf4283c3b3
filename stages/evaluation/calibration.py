"""Whether a score that claims to be a probability is one."""

from __future__ import annotations

import numpy as np


def reliability(score: np.ndarray, label: np.ndarray, bins: int = 15) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predicted against observed, in bins of equal numbers of rows; rows of one score stay in one bin.

    Args:
        score: f64 (rows,), probabilities.
        label: bool or 0/1 (rows,).
        bins: at most this many; fewer where scores are tied.

    Returns:
        rows int64, mean score f64, share of positive labels f64, each (bins used,), by ascending score.

    Raises:
        ValueError: a score is not in [0, 1].
    """
    if not len(score):
        return np.zeros(0, np.int64), np.zeros(0), np.zeros(0)
    if not ((score >= 0) & (score <= 1)).all():
        raise ValueError("a calibrated score lies in [0, 1]; this one holds other values (or nan)")
    _, which, ties = np.unique(score, return_inverse=True, return_counts=True)
    middle = np.cumsum(ties) - (ties + 1) / 2  # a tie group goes to the bin of its middle row
    bin_of = (middle * bins / len(score)).astype(int)[which]
    _, used = np.unique(bin_of, return_inverse=True)
    count = np.bincount(used)
    return count, np.bincount(used, score) / count, np.bincount(used, np.asarray(label, float)) / count


def expected_calibration_error(score: np.ndarray, label: np.ndarray, bins: int = 15) -> float:
    """``sum over bins of rows/all * |observed - predicted|`` with equal-mass bins (Naeini et al. 2015); nan if empty."""
    count, predicted, observed = reliability(score, label, bins)
    return float(np.average(np.abs(observed - predicted), weights=count)) if len(count) else float("nan")


def log_loss(score: np.ndarray, label: np.ndarray) -> float:
    """Mean of -log(score) over positive and -log(1 - score) over negative rows, in nats; nan if empty.

    Unlike the calibration error it also says whether the score tells rows apart.
    """
    if not len(score):
        return float("nan")
    likelihood = np.where(np.asarray(label, bool), score, 1 - np.asarray(score, float))
    return float(-np.log(likelihood.clip(1e-12)).mean())
