"""A LightGBM pre-ranker over the same batches as the neural ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import lightgbm
import numpy as np
import torch
from torch import Tensor, nn

from narrows.codesign.batch import Batch, Encoded, Inputs
from narrows.codesign.log import Array


@dataclass(frozen=True)
class Growth:
    """How trees grow."""

    trees: int = 150
    learning_rate: float = 0.1
    """Shrinkage of a tree."""
    leaves: int = 31
    min_rows: int = 100
    """Least rows of a leaf."""
    l2: float = 1.0
    """L2 regularization of the leaves' values."""
    threads: int = 1
    seed: int = 1

    @property
    def parameters(self) -> dict[str, Any]:
        """LightGBM's own names; the objective takes soft labels in [0, 1]."""
        return {
            "objective": "cross_entropy",
            "learning_rate": self.learning_rate,
            "num_leaves": self.leaves,
            "min_data_in_leaf": self.min_rows,
            "min_sum_hessian_in_leaf": 1e-6,  # the end-to-end loss has small ones; min_rows bounds the leaf
            "lambda_l2": self.l2,
            "max_bin": 127,
            "num_threads": self.threads,
            "seed": self.seed,
            "deterministic": True,
            "force_col_wise": True,
            "verbosity": -1,
        }


class Trees(nn.Module):
    """Gradient-boosted trees as a stage model: called with a `Batch`, they give a score for each candidate.

    They read the scaled features that a pre-ranker sees, and the item's code, which stands for its popularity: codes go
    by falling frequency.
    """

    def __init__(self, booster: lightgbm.Booster, columns: list[int], trees: int | None = None):
        """
        Args:
            booster: the trees.
            columns: the scaled features that they read.
            trees: use the first so many; None = all.
        """
        super().__init__()
        self.booster, self.columns, self.trees = booster, columns, trees

    def forward(self, batch: Batch) -> Tensor:
        """float32 [R, n], larger is better; 0 in padding."""
        mask = batch.mask.cpu()
        rows = table(batch.features.cpu()[mask], batch.item.cpu()[mask], self.columns)
        scores = torch.zeros(mask.shape)
        if len(rows):
            scores[mask] = torch.from_numpy(raw(self.booster, rows, stop=self.trees)).float()
        return scores.to(batch.mask.device)


def seen_columns(inputs: Inputs) -> list[int]:
    """The scaled features that a pre-ranker sees."""
    return [column for column in range(inputs.width) if column not in inputs.ranker_only]


def table(features: Tensor, item: Tensor, columns: list[int]) -> Array:
    """What trees read: float32 [rows, columns + 1]."""
    return np.concatenate([features[:, columns].numpy(), item[:, None].float().numpy()], 1)


def raw(booster: lightgbm.Booster, rows: Array, start: int = 0, stop: int | None = None) -> Array:
    """The sum of the trees from ``start`` to before ``stop``, before any transformation: float64 [rows]."""
    count = (booster.num_trees() if stop is None else stop) - start
    if count <= 0:
        return np.zeros(len(rows))
    predicted = booster.predict(rows, start_iteration=start, num_iteration=count, raw_score=True)
    assert isinstance(predicted, np.ndarray)
    return predicted


def data(train: Encoded, columns: list[int], target: Array, weight: Array | None, growth: Growth) -> lightgbm.Dataset:
    """Rows of a log as LightGBM's data."""
    rows = table(train.features.cpu(), train.item.cpu(), columns)
    return lightgbm.Dataset(rows, target, weight=weight, params=growth.parameters, free_raw_data=False)


def pointwise(
    train: Encoded, columns: list[int], growth: Growth, target: Array | None = None, weight: Array | None = None
) -> Trees:
    """Trees that learn each candidate's target by weighted cross-entropy.

    Args:
        train: the training part.
        columns: scaled features to read.
        growth: of the trees.
        target: float [rows] in [0, 1]; None = the labels.
        weight: float [rows]; None = those of the sample.
    """
    target = (train.label > 0).float().cpu().numpy() if target is None else target
    weight = train.weight.cpu().numpy() if weight is None else weight
    return Trees(lightgbm.train(growth.parameters, data(train, columns, target, weight, growth), growth.trees), columns)
