"""The two towers in torch: a user's latest items and an item's codes become vectors whose product is the score."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

Array = np.ndarray


class Towers(nn.Module):
    """score(u, i) = <user(latest items of u), item(i)> + bias(i) (Yi et al. 2019, Sampling-bias-corrected).

    An item's input is the sum of the embeddings of its id, category, subcategory and brand; the user's is the
    recency-weighted mean of the latest items' inputs. `parts` int64 [items, 4] are those codes, 0 = none.
    """

    parts: Tensor

    def __init__(self, parts: Tensor, embedding_size: int):
        super().__init__()
        sizes = (parts.max(0).values + 1).tolist() if len(parts) else [1] * parts.shape[1]
        self.register_buffer("parts", parts)
        tables = [nn.Embedding(size, embedding_size) for size in sizes]
        for table in tables:
            nn.init.normal_(table.weight, std=0.1)
        self.embeddings = nn.ModuleList(tables)
        self.user_layer = nn.Sequential(
            nn.Linear(embedding_size, 2 * embedding_size), nn.ReLU(), nn.Linear(2 * embedding_size, embedding_size)
        )
        self.item_layer = nn.Linear(embedding_size, embedding_size)
        self.item_bias = nn.Parameter(torch.zeros(len(parts)))
        self.log_half_life = nn.Parameter(torch.tensor(1.05))
        """log of horizons; starts at about 3 horizons."""

    def inputs(self) -> Tensor:
        """Sum of the embeddings of each item's parts: float32 [items, embedding_size]."""
        return sum(table(self.parts[:, k]) for k, table in enumerate(self.embeddings))

    def items(self, inputs: Tensor) -> Tensor:
        """Item vectors, float32 [items, embedding_size + 1]; the last column is the bias."""
        return torch.cat([self.item_layer(inputs) + inputs, self.item_bias[:, None]], 1)

    def users(self, inputs: Tensor, sequence: Tensor, ages: Tensor) -> Tensor:
        """User vectors, float32 [users, embedding_size + 1], of item codes [users, length] (-1 = none) and their ages in horizons.

        The last column is 1, so that the product adds the item's bias; a user without any item has zeros.
        """
        known = sequence >= 0
        weight = torch.exp2(-ages / self.log_half_life.exp()) * known + 1e-6 * known
        weight = weight / weight.sum(1, keepdim=True).clamp_min(1e-12)
        # most users have few of `length` items: only those are read
        starts = functional.pad(known.sum(1).cumsum(0), (1, 0))
        mean = functional.embedding_bag(
            sequence[known], inputs, starts, mode="sum", per_sample_weights=weight[known], include_last_offset=True
        )
        vector = functional.pad(self.user_layer(mean) + mean, (0, 1), value=1.0)
        return vector * known.any(1, keepdim=True)


def train(
    towers: Towers, sequence: Array, ages: Array, target: Array, epochs: int, rate: float, batch: int, seed: int
) -> float:
    """Train with in-batch sampled softmax and logQ correction (Yi et al. 2019).

    A batch's other targets are the negatives; an item is one as often as it is bought, so the log of its frequency is
    taken off its logit.

    Args:
        towers: changed in place.
        sequence: item codes, int64 [rows, length], -1 = none.
        ages: their ages in horizons, float32 [rows, length].
        target: the code of the item that was bought, int64 [rows].
        epochs: passes over the rows.
        rate: learning rate of Adam.
        batch: rows of a step.
        seed: of the order of the rows.

    Returns:
        The mean loss of the last epoch.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # steps of some milliseconds: threads would wait for each other longer than they work
    try:
        return _train(towers, sequence, ages, target, epochs, rate, batch, seed)
    finally:
        torch.set_num_threads(threads)


def _train(
    towers: Towers, sequence: Array, ages: Array, target: Array, epochs: int, rate: float, batch: int, seed: int
) -> float:
    generator = torch.Generator().manual_seed(seed)
    frequency = torch.from_numpy(np.bincount(target, minlength=len(towers.parts)) / max(len(target), 1))
    log_q = frequency.clamp_min(1e-12).log().float()
    tensors = [torch.from_numpy(array) for array in (sequence, ages, target)]
    optimizer = torch.optim.Adam(towers.parameters(), lr=rate)
    loss_sum, steps = 0.0, 0
    for _ in range(epochs):
        loss_sum, steps = 0.0, 0
        for rows in torch.randperm(len(target), generator=generator).split(batch):
            seq, age, wanted = (tensor[rows] for tensor in tensors)
            inputs = towers.inputs()
            users, items = towers.users(inputs, seq, age), towers.items(inputs)[wanted]
            logits = torch.addmm(-log_q[wanted], users, items.T)
            # the same item elsewhere in the batch is no negative
            same = (wanted[:, None] == wanted[None, :]).fill_diagonal_(False)
            loss = functional.cross_entropy(logits.masked_fill_(same, -1e9), torch.arange(len(rows)))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss_sum, steps = loss_sum + loss.item(), steps + 1
    return loss_sum / max(steps, 1)
