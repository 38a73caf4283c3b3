"""The ranker's network with its attention written the plain way: one small network run per (event, candidate)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PlainDIN(nn.Module):
    """The same function of the same weights as ``stages.rank.net.DIN``, as most implementations compute it.

    Every event is put beside every candidate, [event, candidate, their product], and the activation unit runs on that.
    """

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net.eval()

    def forward(self, sequence: Tensor, days: Tensor, parts: Tensor, dense: Tensor) -> Tensor:
        """Logits [users, list]; shapes as DIN's."""
        net = self.net
        events, candidates = net.embedding(sequence), net.embedding(parts)
        users, length, size = events.shape
        count = candidates.shape[1]
        event = events[:, None].expand(users, count, length, size)
        candidate = candidates[:, :, None].expand(users, count, length, size)
        both = torch.cat([event, candidate], -1)
        first = torch.cat([net.event.weight, net.candidate.weight], 1)
        hidden = torch.relu(nn.functional.linear(both, first, net.event.bias))
        product = (event * net.bilinear(candidate)).sum(-1)
        age = net.age(torch.bucketize(days, net.edges)).squeeze(-1)
        weight = torch.sigmoid(product + net.out(hidden).squeeze(-1) + age[:, None])
        weight = weight * (sequence[..., 1] > 0)[:, None]
        interest = (weight[..., None] * event).sum(2) / length**0.5
        return net.head(torch.cat([dense, candidates, interest, interest * candidates], -1)).squeeze(-1)
