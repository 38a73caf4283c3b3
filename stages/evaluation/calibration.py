"""Whether a score that claims to be a probability is one."""

from __future__ import annotations

import numpy as np


def log_loss(score: np.ndarray, label: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Mean of -log(score) over positive and -log(1 - score) over negative rows, in nats; nan if empty.

    Unlike the calibration error it also says whether the score tells rows apart. ``weight`` says how many rows each one
    stands for.
    """
    if not len(score):
        return float("nan")
    likelihood = np.where(np.asarray(label, bool), score, 1 - np.asarray(score, float))
    return float(np.average(-np.log(likelihood.clip(1e-12)), weights=weight))
