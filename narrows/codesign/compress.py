"""Smaller copies of a stage's model: lower precision, fewer units, lower rank, fewer trees. The original stays as it is.

A distilled student is not made here: it is a smaller model trained by the scheme ``distilled``.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from narrows.codesign.errors import CodesignError

KEPT = 0.5
"""Default share of units, of the rank and of trees that is kept."""


class Int8Linear(nn.Module):
    """A linear layer with weights of 8 bits and one scale for each output: round-to-nearest, symmetric.

    Weights alone are quantised: they are a quarter as large, and the product is computed in the input's precision.
    """

    weight8: Tensor
    scale: Tensor

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        weight = layer.weight.detach()
        scale = (weight.abs().amax(1, keepdim=True) / 127).clamp(min=1e-12)
        self.register_buffer("weight8", (weight / scale).round().to(torch.int8))
        self.register_buffer("scale", scale[:, 0].clone())
        self.bias = layer.bias

    def forward(self, rows: Tensor) -> Tensor:
        made = functional.linear(rows, self.weight8.to(rows.dtype)) * self.scale.to(rows.dtype)
        return made if self.bias is None else made + self.bias.to(made.dtype)


class Bfloat16(nn.Module):
    """A module whose matrix products are computed in bfloat16."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *given: Any) -> Any:
        device = next(self.module.parameters()).device.type
        with torch.autocast(device, torch.bfloat16):
            return self.module(*given)


def int8(model: nn.Module, keep: float = KEPT) -> nn.Module:
    """Weights of the perceptrons in 8 bits."""
    return _replaced(model, Int8Linear)


def bfloat16(model: nn.Module, keep: float = KEPT) -> nn.Module:
    """Products in bfloat16; the weights stay float32."""
    return Bfloat16(copy.deepcopy(model))


def low_rank(model: nn.Module, keep: float = KEPT) -> nn.Module:
    """Each layer as the product of two thin ones: its truncated singular value decomposition (Eckart and Young 1936).

    The rank is so chosen that the two have at most ``keep`` of the layer's weights.
    """

    def split(layer: nn.Linear) -> nn.Module:
        outs, ins = layer.weight.shape
        thin = int(keep * outs * ins / (outs + ins))
        if thin < 1:
            return layer
        left, values, right = torch.linalg.svd(layer.weight.detach(), full_matrices=False)
        first, second = nn.Linear(ins, thin, bias=False), nn.Linear(thin, outs, bias=layer.bias is not None)
        with torch.no_grad():
            root = values[:thin].sqrt()
            first.weight.copy_(root[:, None] * right[:thin])
            second.weight.copy_(left[:, :thin] * root)
            if layer.bias is not None:
                second.bias.copy_(layer.bias)
        return nn.Sequential(first, second).to(layer.weight.device)

    return _replaced(model, split)


def pruned(model: nn.Module, keep: float = KEPT) -> nn.Module:
    """Hidden units with the smallest weights taken out: the layers become smaller, so that it saves time on any machine.

    A unit counts by the product of the norms of its incoming and its outgoing weights. Single weights set to zero would
    save nothing in dense products.
    """
    model = copy.deepcopy(model)
    for perceptron in _perceptrons(model):
        layers = [layer for layer in perceptron if isinstance(layer, nn.Linear)]
        for before, after in pairwise(layers):
            importance = before.weight.detach().norm(dim=1) * after.weight.detach().norm(dim=0)
            count = max(1, round(keep * len(importance)))
            units = importance.topk(count).indices.sort().values
            before.weight = nn.Parameter(before.weight.detach()[units].clone())
            if before.bias is not None:
                before.bias = nn.Parameter(before.bias.detach()[units].clone())
            after.weight = nn.Parameter(after.weight.detach()[:, units].clone())
            before.out_features = after.in_features = count
    return model


COMPRESSIONS: dict[str, Callable[..., nn.Module]] = {
    "bfloat16": bfloat16, "int8": int8, "low_rank": low_rank, "pruned": pruned,
}  # fmt: skip
PRECISIONS = ("float32", *COMPRESSIONS)
"""Values of a design's ``precision``; float32 is the model as trained."""
OF_TREES = ("float32", "pruned")
"""Those that trees have."""


def compressed(scorer: Any, precision: str, keep: float = KEPT) -> Any:
    """A smaller copy of a trained stage; the stage itself for float32.

    Args:
        scorer: with a ``model`` (a torch module), or with a ``booster`` (LightGBM): of that, ``pruned`` keeps the first trees.
        precision: one of `PRECISIONS`.
        keep: the share of hidden units, weights or trees that is kept, where the method has a choice.

    Raises:
        CodesignError: there is no such compression, or not for this model.
    """
    if precision not in PRECISIONS:
        raise CodesignError(f"there is no precision {precision!r}: there are {', '.join(PRECISIONS)}")
    if precision == "float32":
        return scorer
    booster = getattr(scorer, "booster", None)
    if booster is None:
        return replace(scorer, model=COMPRESSIONS[precision](scorer.model, keep).eval())
    if precision != "pruned":
        raise CodesignError(f"trees have no precision {precision!r}: give pruned, which keeps the first trees")
    import lightgbm as lgb

    text = booster.model_to_string(num_iteration=max(1, round(keep * booster.num_trees())))
    smaller = copy.copy(scorer)
    object.__setattr__(smaller, "booster", lgb.Booster(model_str=text))
    return smaller


def _perceptrons(model: nn.Module) -> list[nn.Sequential]:
    """Sequences of layers; other linear layers may be read by their owner, so they stay."""
    return [module for module in model.modules() if isinstance(module, nn.Sequential)]


def _replaced(model: nn.Module, make: Callable[[nn.Linear], nn.Module]) -> nn.Module:
    model = copy.deepcopy(model)
    for perceptron in _perceptrons(model):
        for at, layer in enumerate(perceptron):
            if isinstance(layer, nn.Linear):
                perceptron[at] = make(layer)
    return model
