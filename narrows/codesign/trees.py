"""A pre-ranker of trees: LightGBM on the columns that it may see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from narrows.codesign.design import Design
from narrows.codesign.log import Array, FlowLog

if TYPE_CHECKING:
    from lightgbm import Booster

    from narrows.codesign.train import Part


@dataclass(frozen=True)
class Trees:
    """A trained booster."""

    booster: Booster

    def score(self, part: Part) -> Array:
        """float64 [rows]: raw scores."""
        return np.asarray(self.booster.predict(visible(part.log), raw_score=True), np.float64)


def visible(log: FlowLog) -> Array:
    """float32 [rows, columns]: what all stages see."""
    return log.features[:, log.seen_from == 0]


def grow(log: FlowLog, target: Array, objective: str, design: Design, seed: int, weight: Array | None = None) -> Trees:
    """Train LightGBM on a target of each row.

    Args:
        log: the training part.
        target: float [rows].
        objective: LightGBM's name: ``binary``, ``cross_entropy`` (targets in [0, 1]) or ``regression``.
        design: trees, leaves, tree_learning_rate.
        seed: of LightGBM.
        weight: float [rows], of the candidates; None = 1 each. Requests count by their weights besides.
    """
    import lightgbm

    data = lightgbm.Dataset(visible(log), target, weight=worth(log, weight), params={"verbose": -1})
    return Trees(lightgbm.train(settings(design, seed) | {"objective": objective}, data, design.trees))


def worth(log: FlowLog, weight: Array | None) -> Array | None:
    """What each row counts: its weight (None = 1) times that of its request; None = 1 each."""
    of_request = log.row_request_weight
    return weight if of_request is None else of_request * (1.0 if weight is None else weight)


def settings(design: Design, seed: int) -> dict[str, Any]:
    """LightGBM's parameters of a design."""
    import torch

    return {
        "num_leaves": design.leaves, "learning_rate": design.tree_learning_rate, "seed": seed, "verbose": -1,
        "deterministic": True, "force_row_wise": True, "num_threads": torch.get_num_threads(),
    }  # fmt: skip
