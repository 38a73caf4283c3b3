"""LightGBM as the pre-ranker of a jointly trained cascade: its trees descend the end-to-end loss, in turn with the ranker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import lightgbm
import numpy as np
import torch
from torch import Tensor, nn

from narrows.codesign.batch import Batch, Encoded
from narrows.codesign.losses.cascade import Lcron
from narrows.codesign.losses.relax import by_neural_sort
from narrows.codesign.objective import EndToEnd, pad
from narrows.codesign.trees import Growth, Trees, data, raw, table


@dataclass(frozen=True)
class Turns:
    """How trees and ranker take turns."""

    turns: int = 10
    """In each, trees grow, then the ranker takes steps."""
    warm_trees: int = 50
    """Trees that first learn the labels by cross-entropy: the end-to-end loss goes on from their scores."""
    hessian: str = "gauss_newton"
    """One of `curvature.HESSIANS`."""
    epochs: float = 2.0
    """How often the ranker sees all requests, in all turns together."""
    batch: int = 256
    """Requests of a ranker's step."""
    learning_rate: float = 0.01
    """Of the ranker and of the weights of the loss's terms (Adam)."""


@dataclass(frozen=True)
class Joint:
    """A jointly trained cascade, and what each turn did."""

    trees: Trees
    ranker: nn.Module
    history: list[dict[str, float]] = field(default_factory=list)
    """For each turn: ``train``, the loss at the trees' turn, before and after them (``before``), and what ``watch`` said."""


def scores_of(model: nn.Module, part: Encoded, size: int = 1024) -> Tensor:
    """A stage's scores of all candidates of a part, float32 [rows]."""
    was = model.training
    model.eval()
    with torch.no_grad():
        scores = torch.cat([model(batch)[batch.mask] for batch in part.batches(size)])
    model.train(was)
    return scores


def in_turn(
    train: Encoded, columns: list[int], ranker: nn.Module, loss: Lcron, quotas: tuple[int, int],
    growth: Growth, turns: Turns, watch: Callable[[Trees, nn.Module], dict[str, float]] | None = None,
) -> Joint:  # fmt: skip
    """Train trees and a ranker on LCRON's loss, each while the other stands still.

    ``growth.trees`` trees in all: ``warm_trees`` by cross-entropy, the others on the end-to-end loss, evenly over the turns.

    Args:
        train: the training part.
        columns: scaled features that the trees read.
        ranker: a stage model; it is trained in place.
        loss: of two stages; gives the temperature, and the weights of its terms are trained with the ranker.
        quotas: of the pre-ranker and of the ranker, in training.
        growth: of the trees.
        turns: how the two alternate.
        watch: called after each turn with the trees so far and the ranker.

    Raises:
        ValueError: the loss is not relaxed by NeuralSort.
    """
    if loss.relaxed is not by_neural_sort:
        raise ValueError("trees descend LCRON's loss with relaxation = neural_sort only")
    objective = EndToEnd(train, quotas, loss.tau, turns.hessian)
    rows = table(train.features, train.item, columns)
    target, weight = (train.label > 0).float().numpy(), train.weight.numpy()
    booster = lightgbm.Booster(growth.parameters, data(train, columns, target, weight, growth))
    for _ in range(min(turns.warm_trees, growth.trees)):
        booster.update()
    scores = raw(booster, rows)
    optimizer = torch.optim.Adam([*ranker.parameters(), *loss.parameters()], lr=turns.learning_rate)
    generator = torch.Generator().manual_seed(growth.seed)
    steps = Steps(train, turns, generator)
    history: list[dict[str, float]] = []
    ends = np.linspace(booster.num_trees(), growth.trees, turns.turns + 1).round().astype(int)[1:]
    for turn, end in enumerate(ends, start=1):
        objective.set_ranker(scores_of(ranker, train))
        objective.single = float(torch.exp(-2 * loss.weights.log.detach()[0]) / 2) if loss.single else 0.0
        done, before = booster.num_trees(), None
        while booster.num_trees() < end:
            booster.update(fobj=objective)
            before = objective.loss if before is None else before
        scores += raw(booster, rows, done)
        objective(scores)
        about: dict[str, Any] = {"before": objective.loss if before is None else before, "train": objective.loss}
        for chosen in steps.until(turn / turns.turns):
            batch = train.batch(chosen)
            fixed = padded_like(torch.from_numpy(scores).float(), train.bounds, chosen, batch)
            optimizer.zero_grad()
            loss((fixed, ranker(batch)), batch, quotas).backward()
            optimizer.step()
        if watch is not None:
            about |= watch(Trees(booster, columns, int(end)), ranker)
        history.append(about)
    return Joint(Trees(booster, columns), ranker, history)


def padded_like(flat: Tensor, bounds: Tensor, requests: Tensor, batch: Batch) -> Tensor:
    """Values [rows] of these requests, padded as their batch is."""
    rows = bounds[requests][:, None] + torch.arange(batch.mask.shape[1])
    return pad(flat, rows.clamp_max(len(flat) - 1), batch.mask)


class Steps:
    """Batches of requests, drawn anew each epoch, spread evenly over the turns."""

    def __init__(self, train: Encoded, turns: Turns, generator: torch.Generator):
        per_epoch = -(-len(train) // turns.batch)
        self.count, self.done = round(per_epoch * turns.epochs), 0
        self.size, self.requests, self.generator = turns.batch, len(train), generator
        self.left: list[Tensor] = []

    def until(self, share: float) -> list[Tensor]:
        """The batches up to this share of all."""
        chosen = []
        while self.done < round(self.count * share):
            if not self.left:
                self.left = list(torch.randperm(self.requests, generator=self.generator).split(self.size))
            chosen.append(self.left.pop())
            self.done += 1
        return chosen
