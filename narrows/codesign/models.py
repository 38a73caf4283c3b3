"""Stage models: two towers, a linear model, a small perceptron, and a ranker that looks at the sequence (DIN)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from narrows.codesign.batch import PADDING, Batch, Inputs

ATTENTION = 16
"""Hidden units of the attention."""


def perceptron(width: int, hidden: Sequence[int], out: int) -> nn.Sequential:
    """Linear layers with ReLU between them."""
    layers: list[nn.Module] = []
    for size in hidden:
        layers += [nn.Linear(width, size), nn.ReLU()]
        width = size
    return nn.Sequential(*layers, nn.Linear(width, out))


class Stage(nn.Module):
    """A model of a stage: it sees some features, and has item embeddings of its own.

    Called with a `Batch`, it gives a score for each candidate: float32 [R, n], larger is better.
    """

    columns: Tensor
    """int64: the features that it sees."""

    def __init__(self, inputs: Inputs, columns: Sequence[int], embedding_size: int) -> None:
        super().__init__()
        self.register_buffer("columns", torch.tensor(list(columns), dtype=torch.int64), persistent=False)
        self.all_columns = list(columns) == list(range(inputs.width))
        self.embedding = nn.Embedding(inputs.items, embedding_size, padding_idx=PADDING)
        nn.init.normal_(self.embedding.weight, std=embedding_size**-0.5)
        with torch.no_grad():
            self.embedding.weight[PADDING] = 0

    def seen(self, batch: Batch) -> Tensor:
        """The features that the stage sees: float32 [R, n, columns]."""
        return batch.features if self.all_columns else batch.features[..., self.columns]

    def history(self, batch: Batch) -> Tensor:
        """The mean embedding of the latest items, 0 without any: float32 [R, embedding_size]."""
        return functional.embedding_bag(batch.sequence, self.embedding.weight, mode="mean", padding_idx=PADDING)


class TwoTowers(Stage):
    """The product of a user vector and an item vector (DSSM, Huang et al. 2013).

    The user's tower reads the latest items and the features that all candidates of a request share; the item's tower
    reads the item and the other features. Where some of these belong to the pair of user and item, the item's tower
    runs for each request; else its vectors can be kept.
    """

    user_columns: Tensor

    def __init__(self, inputs: Inputs, columns: Sequence[int], embedding_size: int, hidden: Sequence[int]) -> None:
        of_user = [column for column in columns if column in inputs.of_user]
        of_item = [column for column in columns if column not in inputs.of_user]
        super().__init__(inputs, of_item, embedding_size)
        self.register_buffer("user_columns", torch.tensor(of_user, dtype=torch.int64), persistent=False)
        *inner, out = hidden
        self.user_tower = perceptron(embedding_size + len(of_user), inner, out)
        self.item_tower = perceptron(embedding_size + len(of_item), inner, out + 1)

    def forward(self, batch: Batch) -> Tensor:
        shared = batch.features[:, 0, self.user_columns]
        user = self.user_tower(torch.cat([self.history(batch), shared], 1))
        item = self.item_tower(torch.cat([self.embedding(batch.item), self.seen(batch)], 2))
        return (torch.einsum("rd,rnd->rn", user, item[..., 1:]) * user.shape[1] ** -0.5 + item[..., 0]).float()


class Linear(Stage):
    """A weight for each feature and a bias for each item: the smallest pre-ranker."""

    def __init__(self, inputs: Inputs, columns: Sequence[int], embedding_size: int, hidden: Sequence[int]) -> None:
        super().__init__(inputs, columns, 1)
        self.layer = nn.Linear(len(columns), 1)
        nn.init.zeros_(self.embedding.weight)

    def forward(self, batch: Batch) -> Tensor:
        return (self.layer(self.seen(batch)) + self.embedding(batch.item))[..., 0].float()


class Mlp(Stage):
    """A perceptron over the item, the mean of the latest items, their product, and the features."""

    def __init__(self, inputs: Inputs, columns: Sequence[int], embedding_size: int, hidden: Sequence[int]) -> None:
        super().__init__(inputs, columns, embedding_size)
        self.layers = perceptron(3 * embedding_size + len(columns), hidden, 1)

    def forward(self, batch: Batch) -> Tensor:
        item = self.embedding(batch.item)
        past = self.history(batch)[:, None].expand_as(item)
        return self.layers(torch.cat([item, past, item * past, self.seen(batch)], 2))[..., 0].float()


class Din(Stage):
    """A perceptron over the item, the latest items weighed by how they match it, and the features.

    Deep Interest Network (Zhou et al., KDD 2018): each event gets a weight from a small perceptron over event, item and
    their product; the weights are not normalized, so that a stronger interest counts for more. The first layer is
    linear in the three, so it is computed for events, items and products apart.
    """

    def __init__(self, inputs: Inputs, columns: Sequence[int], embedding_size: int, hidden: Sequence[int]) -> None:
        super().__init__(inputs, columns, embedding_size)
        self.event = nn.Linear(embedding_size, ATTENTION)
        self.target = nn.Linear(embedding_size, ATTENTION, bias=False)
        self.product = nn.Parameter(torch.randn(ATTENTION, embedding_size) * embedding_size**-0.5)
        self.attention = nn.Linear(ATTENTION, 1)
        self.layers = perceptron(3 * embedding_size + len(columns), hidden, 1)

    def forward(self, batch: Batch) -> Tensor:
        item, latest = self.embedding(batch.item), self.embedding(batch.sequence)
        there = batch.sequence != PADDING
        requests, n, size = item.shape
        turned = (item[:, :, None] * self.product).reshape(requests, n * ATTENTION, size)
        inner = torch.bmm(turned, latest.transpose(1, 2)).view(requests, n, ATTENTION, -1)
        inner = functional.relu(inner + self.target(item)[..., None] + self.event(latest).transpose(1, 2)[:, None])
        weights = torch.einsum("rnhl,h->rnl", inner, self.attention.weight[0]) + self.attention.bias
        weights = weights * (there / there.sum(1, keepdim=True).clamp(min=1))[:, None]
        past = torch.bmm(weights, latest.to(weights.dtype))
        return self.layers(torch.cat([item, past, item * past, self.seen(batch)], 2))[..., 0].float()


MODELS: dict[str, Callable[[Inputs, Sequence[int], int, Sequence[int]], Stage]] = {
    "two_tower": TwoTowers, "linear": Linear, "mlp": Mlp, "din": Din,
}  # fmt: skip


def stage_model(
    name: str, inputs: Inputs, ranker: bool, embedding_size: int = 16, hidden: Sequence[int] = (64, 32)
) -> Stage:
    """A stage model with random weights.

    Args:
        name: one of `MODELS`.
        inputs: of the training part.
        ranker: whether it sees the features that only the ranker sees.
        embedding_size: of items.
        hidden: sizes of the hidden layers; the last one is that of two towers' vectors.

    Raises:
        ValueError: there is no such model.
    """
    if name not in MODELS:
        raise ValueError(f"there is no model {name!r}; there are {', '.join(MODELS)}")
    columns = [column for column in range(inputs.width) if ranker or column not in inputs.ranker_only]
    return MODELS[name](inputs, columns, embedding_size, hidden)
