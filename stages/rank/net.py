"""The built-in rankers: a deep interest network, and a wide & deep one."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from stages.rank.rankers import RANKERS, check_registered, ranker

AGE_EDGES = tuple(2.0**power for power in range(-6, 6))
"""Edges of the buckets of events' ages, in horizons."""


class Embedding(nn.Module):
    """An item's vector: the sum of the embeddings of its parts; code 0 is the zero vector."""

    def __init__(self, sizes: list[int], embedding_size: int):
        super().__init__()
        tables = [nn.Embedding(size, embedding_size, padding_idx=0) for size in sizes]
        for table in tables:
            nn.init.normal_(table.weight, std=0.05)
            table.weight.data[0] = 0
        self.tables = nn.ModuleList(tables)

    def forward(self, parts: Tensor) -> Tensor:
        """[..., parts] -> [..., embedding_size]."""
        return sum(table(parts[..., k]) for k, table in enumerate(self.tables))


class ListDropout(nn.Module):
    """Dropout of the same outputs for a user's whole list.

    What differs within a list is not blurred, and the masks are small: a mask per candidate took a quarter of the
    training time.
    """

    def __init__(self, share: float):
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        """[users, list, outputs] -> the same."""
        if not self.training or self.share == 0:
            return x
        keep = torch.rand(x.shape[0], 1, x.shape[2], device=x.device) >= self.share
        return x * (keep / (1 - self.share))


def head(inputs: int, hidden: int, dropout: float) -> nn.Sequential:
    """[..., inputs] -> [..., 1]; starts near the logit of a rare event."""
    last = nn.Linear(hidden // 2, 1)
    nn.init.normal_(last.weight, std=0.05)
    nn.init.constant_(last.bias, -3.0)
    return nn.Sequential(
        nn.Linear(inputs, hidden), nn.ReLU(), ListDropout(dropout),
        nn.Linear(hidden, hidden // 2), nn.ReLU(), ListDropout(dropout), last,
    )  # fmt: skip


def joined(layers: nn.Sequential, dense: Tensor, vectors: Tensor) -> Tensor:
    """layers(cat([dense, vectors], -1)), without the copy and without the gradient of `dense`, which nobody needs."""
    size = dense.shape[-1]
    first, *others = layers.children()
    assert isinstance(first, nn.Linear)
    x = functional.linear(dense, first.weight[:, :size], first.bias)
    x = x + functional.linear(vectors, first.weight[:, size:])
    for layer in others:
        x = layer(x)
    return x


def latest(sequence: Tensor, ages: Tensor) -> tuple[Tensor, Tensor]:
    """Without the events in front that all users lack; on a GPU, which would have to wait for the answer, as they are."""
    if sequence.is_cuda or not sequence.shape[1]:
        return sequence, ages
    known = (sequence > 0).any(-1).any(0)
    first = int(known.int().argmax()) if known.any() else sequence.shape[1] - 1
    return sequence[:, first:], ages[:, first:].contiguous()


@ranker("din")
class DIN(nn.Module):
    """Deep interest network (Zhou et al. 2018): attention of each candidate over the user's latest events.

    The activation unit a(h, t) of an event h and a candidate t is factored so that no layer runs per (event,
    candidate): a = t' M h + v' relu(A h + B t) + b(age of h), with A h computed once per user. As in the paper,
    the weights are not normalised, so that the strength of an interest is kept.
    """

    edges: Tensor

    def __init__(self, sizes: list[int], dense: int, embedding_size: int, hidden: int, units: int, dropout: float):
        super().__init__()
        self.embedding = Embedding(sizes, embedding_size)
        self.age = nn.Embedding(len(AGE_EDGES) + 1, 1)
        nn.init.zeros_(self.age.weight)
        self.bilinear = nn.Linear(embedding_size, embedding_size, bias=False)
        self.event = nn.Linear(embedding_size, units)
        self.candidate = nn.Linear(embedding_size, units, bias=False)
        self.out = nn.Linear(units, 1)
        self.register_buffer("edges", torch.tensor(AGE_EDGES))
        self.head = head(dense + 3 * embedding_size, hidden, dropout)

    def forward(self, sequence: Tensor, ages: Tensor, parts: Tensor, dense: Tensor) -> Tensor:
        """Logits [users, list].

        sequence int [users, length, parts], ages [users, length] in horizons, parts int [users, list, parts],
        dense [users, list, columns].
        """
        length = sequence.shape[1]
        sequence, ages = latest(sequence, ages)
        events, candidates = self.embedding(sequence), self.embedding(parts)
        attention = self.bilinear(candidates) @ events.transpose(1, 2)
        pair = torch.relu(self.event(events)[:, None] + self.candidate(candidates)[:, :, None])
        age = self.age(torch.bucketize(ages, self.edges)).squeeze(-1)
        attention = attention + self.out(pair).squeeze(-1) + age[:, None]
        attention = torch.sigmoid(attention) * (sequence[..., 1] > 0)[:, None]
        interest = attention @ events / length**0.5
        vectors = torch.cat([candidates, interest, interest * candidates], -1)
        return joined(self.head, dense, vectors).squeeze(-1)


@ranker("wide_deep")
class WideDeep(nn.Module):
    """Wide & deep (Cheng et al. 2016): a linear part on the dense columns, and a deep part.

    The deep part also sees the item's vector and the plain mean of the user's latest events. ``units`` is not used.
    """

    def __init__(self, sizes: list[int], dense: int, embedding_size: int, hidden: int, units: int, dropout: float):
        super().__init__()
        self.embedding = Embedding(sizes, embedding_size)
        self.wide = nn.Linear(dense, 1)
        nn.init.zeros_(self.wide.weight)
        self.head = head(dense + 2 * embedding_size, hidden, dropout)

    def forward(self, sequence: Tensor, ages: Tensor, parts: Tensor, dense: Tensor) -> Tensor:
        """As DIN's."""
        mean = self.embedding(sequence).mean(1)
        candidates = self.embedding(parts)
        vectors = torch.cat([candidates, mean[:, None].expand_as(candidates)], -1)
        return (self.wide(dense) + joined(self.head, dense, vectors)).squeeze(-1)


def ranker_class(name: str) -> type[nn.Module]:
    """The network that is registered under a name, built-in or a plug-in's.

    Raises:
        ValueError: none is.
    """
    check_registered(name)
    return RANKERS[name]
