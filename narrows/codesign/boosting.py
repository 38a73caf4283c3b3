"""LightGBM as the pre-ranker of a jointly trained cascade: its trees descend the end-to-end loss, in turn with the ranker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from narrows.codesign.losses import named
from narrows.codesign.losses.cascade import Lcron
from narrows.codesign.losses.relax import by_neural_sort
from narrows.codesign.objective import EndToEnd
from narrows.codesign.train import Neural, Part, padded, scores_of
from narrows.codesign.trees import Trees, settings, visible, worth

if TYPE_CHECKING:
    import lightgbm

    from narrows.codesign.design import Design
    from narrows.codesign.log import Array
    from narrows.codesign.models import Stage


@dataclass(frozen=True)
class Turns:
    """How trees and ranker take turns."""

    turns: int = 10
    """In each, trees grow, then the ranker takes steps."""
    warm_share: float = 0.5
    """Share of the trees that first learn the labels by cross-entropy: the end-to-end loss goes on from their scores. It
    helps where tau suits log-odds (50 for 40 candidates); at a tau of 5 these are far too sharp, and 0 is better."""
    hessian: str = "gauss_newton"
    """One of `curvature.HESSIANS`. This one descended at all learning rates tried; clipped ran uphill at 0.5."""


@dataclass(frozen=True)
class Joint:
    """A jointly trained cascade, and what each turn did."""

    trees: Trees
    rank: Neural
    history: list[dict[str, float]] = field(default_factory=list)
    """For each turn the loss at the trees' turn, before and after them (``before``, ``after``: means over the rows), the
    weight of the pre-ranker's own term (``single``), and what ``watch`` said."""


def in_turn(
    design: Design, part: Part, rank: Stage, seed: int, turns: Turns | None = None,
    watch: Callable[[Trees, Stage], dict[str, float]] | None = None,
) -> Joint:  # fmt: skip
    """Train trees and a ranker on LCRON's loss, each while the other stands still.

    The first trees learn the labels alone. Then ``design.trees`` less those are spread evenly over the turns, and so are
    the ranker's steps, ``design.epochs`` passes over the requests with the learning rate of `train.fit`.

    Args:
        design: loss (lcron, or lcron_e2e), tau, quotas, trees, leaves, tree_learning_rate; epochs, batch, learning_rate.
        part: the training part; its device is the ranker's, trees grow on the CPU.
        rank: a stage model; it is trained in place.
        seed: of LightGBM and of the order of the requests.
        turns: how the two alternate; None = as by default.
        watch: called after each turn with the trees so far and the ranker.

    Raises:
        ValueError: the loss has no gradient and hessian for trees.
    """
    import lightgbm

    turns = turns or Turns()
    given: dict[str, Any] = {} if design.tau is None else {"tau": design.tau}
    loss = named(design.loss, **given).to(part.device)
    if not isinstance(loss, Lcron) or loss.relaxed is not by_neural_sort:
        raise ValueError(
            f"loss {design.loss}: trees descend lcron or lcron_e2e alone; use one of these, or another prerank"
        )
    quotas = design.loss_quotas
    objective = EndToEnd(part.log, (quotas[0], quotas[1]), loss.tau, turns.hessian)
    rows, label = visible(part.log), (part.log.label > 0).astype(np.float32)
    weight = part.log.weight if design.weighted else None
    # the end-to-end loss has small hessians; min_data_in_leaf bounds the leaves
    options = settings(design, seed) | {"objective": "binary", "min_sum_hessian_in_leaf": 1e-6}
    data = lightgbm.Dataset(rows, label, weight=worth(part.log, weight), params={"verbose": -1})
    # weights are for the labels: gradients of one's own are taken as they are
    booster = lightgbm.Booster(options, data)
    for _ in range(round(design.trees * turns.warm_share)):
        booster.update()
    scores = raw(booster, rows)
    steps = ranker_steps(design, part, rank, loss, quotas, seed, turns.turns)
    history: list[dict[str, float]] = []
    for end in np.linspace(booster.num_trees(), design.trees, turns.turns + 1).round().astype(int)[1:]:
        objective.set_ranker(Neural(rank).score(part))
        objective.single = float(torch.exp(-2 * loss.weights.log.detach()[0]) / 2) if loss.single else 0.0
        done = booster.num_trees()
        objective(scores)
        about: dict[str, Any] = {"before": objective.loss, "single": objective.single}
        while booster.num_trees() < end:
            booster.update(fobj=objective)
        scores += raw(booster, rows, done)
        objective(scores)
        about["after"] = objective.loss
        rank.train()
        next(steps)(scores)
        history.append(about | (watch(Trees(booster), rank) if watch else {}))
    return Joint(Trees(booster), Neural(rank), history)


def raw(booster: lightgbm.Booster, rows: Array, start: int = 0) -> Array:
    """The sum of the trees from ``start`` on, before any transformation: float64 [rows]."""
    if booster.num_trees() <= start:
        return np.zeros(len(rows))
    return np.asarray(booster.predict(rows, start_iteration=start, raw_score=True), np.float64)


def ranker_steps(
    design: Design, part: Part, rank: Stage, loss: Lcron, quotas: tuple[int, ...], seed: int, turns: int
) -> Iterator[Callable[[Array], None]]:
    """For each turn what takes the ranker's steps, the trees' scores [rows] given; all turns together are the epochs."""
    optimizer = torch.optim.AdamW(
        [*rank.parameters(), *loss.parameters()], lr=design.learning_rate, weight_decay=design.reg
    )
    batches = epochs(len(part.log), design, seed)
    falling = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / len(batches))
    ends = np.linspace(0, len(batches), turns + 1).round().astype(int)
    for first, last in pairwise(ends):

        def take(scores: Array, some: list[Tensor] = batches[first:last]) -> None:
            of_trees = padded(scores, part)
            for requests in (each.to(part.device) for each in some):
                batch = part.encoded.batch(requests)
                optimizer.zero_grad(set_to_none=True)
                loss((of_trees(requests, batch.mask), scores_of(rank, batch)), batch, quotas).backward()
                optimizer.step()
                falling.step()

        yield take


def epochs(requests: int, design: Design, seed: int) -> list[Tensor]:
    """The requests' numbers in batches, in a new order for each epoch."""
    generator = torch.Generator().manual_seed(seed)
    return [
        some for _ in range(design.epochs) for some in torch.randperm(requests, generator=generator).split(design.batch)
    ]
