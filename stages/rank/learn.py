"""Training, list by list: a user's events are encoded once for all of the user's candidates."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial, reduce

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from features.lookup import Array
from stages.rank.inputs import CandidateLists, Labels
from stages.rank.place import Batch, Feed, Step, autocast, device
from stages.rank.work import alike, helpers, work_of

GROUPS = 3
"""A step's users are cut into so many groups of like size, see `alike`."""
LEAST_WORK = 64_000.0
"""Pairs of a candidate and an event that are worth a group of their own."""


@dataclass(frozen=True)
class Training:
    """How networks are trained; as of ``[rank]``."""

    epochs: int
    learning_rate: float
    batch: int
    """Users of a step, over all processes."""
    weight_decay: float
    listwise: float
    seed: int


@dataclass(frozen=True)
class Process:
    """Which one of several processes with the same data this is; each takes its share of every step's users."""

    number: int = 0
    count: int = 1

    def share(self, users: Array) -> Array:
        """Its part of them."""
        return users[self.number :: self.count]

    def add_up(self, gradient: list[Tensor]) -> list[Tensor]:
        """The sum over the processes."""
        if self.count == 1:
            return gradient
        flat = torch.cat([each.reshape(-1) for each in gradient])
        torch.distributed.all_reduce(flat)
        return [
            part.view_as(each) for part, each in zip(flat.split([g.numel() for g in gradient]), gradient, strict=True)
        ]


@dataclass(frozen=True)
class Whole:
    """What the losses of a step are divided by, over all of its users."""

    weight: float
    """Of the candidates: weight * request."""
    lists: int
    """Lists with a positive."""

    @classmethod
    def of(cls, lists: CandidateLists, labels: Labels) -> tuple[Array, Array]:
        """Of every user: the weight, float64 (users,), and whether the list has a positive, bool (users,)."""
        user = np.repeat(np.arange(len(lists.bounds) - 1), np.diff(lists.bounds))
        count = len(lists.bounds) - 1
        weight = np.bincount(user, labels.weight * labels.request, minlength=count)
        return weight, np.bincount(user, labels.label, minlength=count) > 0


def loss_of(logits: Tensor, labels: tuple[Tensor, ...], real: Tensor, whole: Whole, listwise: float) -> Tensor:
    """Pointwise loss, for calibration, plus `listwise` times a listwise one, for the order.

    The first is the weighted logistic loss over all requests, the second a softmax over each user's list (joint ranking and calibration,
    Sheng et al. 2023); log(weight) in the softmax stands for the rows that were not sampled. The losses of a step's groups add up.

    Args:
        logits: float [users, list].
        labels: float [users, list] each: the label, 0 or 1; weight, 1 / the probability that the sample has the row,
            given its list; request, 1 / the probability that it has the list: only the first loss reads it, so that
            a list counts in the order as any other; and of a positive the weight of its event type, which counts in the
            listwise loss, as a probability is one of any positive.
        real: bool [users, list], False = padding.
        whole: of all groups.
        listwise: weight of the listwise loss.
    """
    label, weight, request, label_weight = labels
    logistic = functional.binary_cross_entropy_with_logits(logits, label, weight * request * real, reduction="sum")
    weighted = (logits + weight.log()).masked_fill(~real, -math.inf)
    positive = label * real
    likelihood = weighted.masked_fill(~real, 0).sub(weighted.logsumexp(1, keepdim=True))
    softmax = -(positive * label_weight * likelihood).sum(1) / positive.sum(1).clamp_min(1)
    return logistic / whole.weight + listwise * softmax.sum() / max(whole.lists, 1)


def train(
    net: nn.Module, data: list[tuple[CandidateLists, Labels]], how: Training, process: Process = Process(),
    memory: float | None = None, threads: int | None = None,
) -> None:  # fmt: skip
    """AdamW with one cosine from the learning rate to 0; the batches mix the windows.

    Args:
        net: changed in place.
        data: the windows, the same in every process.
        how: the settings.
        process: this one.
        memory: bytes of lists that may be on the device; None = what fits.
        threads: that may be used; None = as many as torch has.
    """
    where = device()
    net.to(where).train()
    parameters = list(net.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=how.learning_rate, weight_decay=how.weight_decay, fused=True)
    generator = np.random.default_rng(how.seed)
    torch.manual_seed(how.seed + 1_000_003 * process.number)  # each process drops other outputs
    users = [np.flatnonzero(np.diff(lists.bounds)) for lists, _ in data]
    steps = how.epochs * sum(-(-len(who) // how.batch) for who in users)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
    feed, totals = Feed(list(data), where, memory), [Whole.of(*window) for window in data]
    work = [work_of(lists) for lists, _ in data]
    with helpers(where, threads) as others:
        for _ in range(how.epochs):
            parts = [(k, part) for k, who in enumerate(users) for part in _split(generator.permutation(who), how.batch)]
            order = [parts[at] for at in generator.permutation(len(parts))]
            cut = partial(alike, least=LEAST_WORK, most=GROUPS if where.type == "cpu" else 1)
            shares = [Step(k, cut(process.share(part), work[k])) for k, part in order]
            for (k, part), (_, batches) in zip(order, feed.batches(shares), strict=True):
                whole = Whole(float(totals[k][0][part].sum()), int(totals[k][1][part].sum()))
                for batch in batches:  # the forward passes in turn, as they draw random numbers
                    loss = _loss(net, batch, whole, how.listwise)
                    others.add(partial(torch.autograd.grad, loss, parameters, materialize_grads=True))
                gradients = others.results() or [[torch.zeros_like(parameter) for parameter in parameters]]
                total = process.add_up([reduce(torch.add, each) for each in zip(*gradients, strict=True)])
                for parameter, gradient in zip(parameters, total, strict=True):
                    parameter.grad = gradient
                optimizer.step()
                schedule.step()


def _loss(net: nn.Module, batch: Batch, whole: Whole, listwise: float) -> Tensor:
    with autocast(batch.real.device):
        logits = net(*batch.arguments).float()
    return loss_of(logits, batch.labels, batch.real, whole, listwise)


def _split(users: Array, size: int) -> list[Array]:
    return [users[at : at + size] for at in range(0, len(users), size)]
