"""Training and scoring, list by list: a user's events are encoded once for all of the user's candidates."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from features.lookup import Array
from stages.rank.inputs import CandidateLists


@dataclass
class Labels:
    """The labels of the candidates of `CandidateLists`."""

    label: Array
    """float32 [candidates], 0 or 1."""
    weight: Array
    """float32 [candidates]: 1 / the probability that the sample has the candidate, given its list."""
    request: Array
    """float32 [candidates]: 1 / the probability that the sample has the list, the same for all of it."""
    label_weight: Array
    """float32 [candidates]: of a positive the weight of its event type."""


def device() -> torch.device:
    """The GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _autocast(where: torch.device) -> torch.autocast:
    return torch.autocast(where.type, torch.bfloat16, enabled=where.type == "cuda")


def batches(
    lists: CandidateLists, users: Array, size: int, where: torch.device
) -> Iterator[tuple[tuple[Tensor, ...], Array, Tensor]]:
    """The network's arguments for `size` users at a time, with the candidates' rows [users, list] and which are real."""
    starts, stops = lists.bounds[users], lists.bounds[users + 1]
    for at in range(0, len(users), size):
        start, stop = starts[at : at + size], stops[at : at + size]
        rows = start[:, None] + np.arange(max(int((stop - start).max()), 1))
        real = rows < stop[:, None]
        rows = np.where(real, rows, np.minimum(start, len(lists) - 1)[:, None])
        who = users[at : at + size]
        arrays = (lists.sequence[who], lists.ages[who], lists.parts[rows], lists.dense[rows])
        yield tuple(torch.from_numpy(array).to(where) for array in arrays), rows, torch.from_numpy(real).to(where)


def loss_of(
    logits: Tensor, label: Tensor, weight: Tensor, request: Tensor, label_weight: Tensor, real: Tensor, listwise: float
) -> Tensor:
    """Pointwise loss, for calibration, plus `listwise` times a listwise one, for the order.

    The first is the weighted logistic loss over all requests, the second a softmax over each user's list (joint ranking and calibration,
    Sheng et al. 2023); log(weight) in the softmax stands for the rows that were not sampled.

    Args:
        logits: float [users, list].
        label: 0 or 1 [users, list].
        weight: 1 / the probability that the sample has the row, given its list [users, list].
        request: 1 / the probability that the sample has the list [users, list]; only the first loss reads it, so that a
            list counts in the order as any other.
        label_weight: of a positive the weight of its event type; it counts in the listwise loss, as a probability is one
            of any positive [users, list].
        real: bool [users, list], False = padding.
        listwise: weight of the listwise loss.
    """
    whole = weight * request * real
    logistic = functional.binary_cross_entropy_with_logits(logits, label, whole, reduction="sum")
    weighted = (logits + weight.log()).masked_fill(~real, -math.inf)
    positive = label * real
    likelihood = weighted.masked_fill(~real, 0).sub(weighted.logsumexp(1, keepdim=True))
    softmax = -(positive * label_weight * likelihood).sum(1)
    return logistic / whole.sum() + listwise * (softmax / positive.sum(1).clamp_min(1)).sum() / (
        positive.sum(1) > 0
    ).sum().clamp_min(1)


def train(
    net: nn.Module, data: list[tuple[CandidateLists, Labels]], epochs: int, rate: float, size: int,
    decay: float, listwise: float, seed: int,
) -> None:  # fmt: skip
    """AdamW with one cosine from `rate` to 0; the batches mix the windows."""
    where = device()
    net.to(where).train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=decay)
    generator = np.random.default_rng(seed)
    torch.manual_seed(seed)
    users = [np.flatnonzero(np.diff(lists.bounds)) for lists, _ in data]
    steps = epochs * sum(-(-len(who) // size) for who in users)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
    for _ in range(epochs):
        parts = [(k, part) for k, who in enumerate(users) for part in _split(generator.permutation(who), size)]
        for at in generator.permutation(len(parts)):
            lists, labels = data[parts[at][0]]
            arguments, rows, real = next(batches(lists, parts[at][1], size, where))
            with _autocast(where):
                logits = net(*arguments).float()
            given = (labels.label, labels.weight, labels.request, labels.label_weight)
            label, weight, request, worth = (torch.from_numpy(array[rows]).to(where) for array in given)
            loss = loss_of(logits, label, weight, request, worth, real, listwise)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()


def _split(users: Array, size: int) -> list[Array]:
    return [users[at : at + size] for at in range(0, len(users), size)]


def score(net: nn.Module, lists: CandidateLists, size: int = 64) -> Array:
    """Logits of all candidates, float32."""
    where = device()
    net.to(where).eval()
    out = np.zeros(len(lists), np.float32)
    with torch.inference_mode(), _autocast(where):
        for arguments, rows, real in batches(lists, np.flatnonzero(np.diff(lists.bounds)), size, where):
            keep = real.cpu().numpy()
            out[rows[keep]] = net(*arguments).float().cpu().numpy()[keep]
    return out
