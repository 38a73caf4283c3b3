"""Training neural stages on a flow log, and scoring with any stage."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, log_softmax

from narrows.codesign.batch import Batch, Encoded, Inputs
from narrows.codesign.design import Design
from narrows.codesign.log import Array, FlowLog
from narrows.codesign.losses.relax import mean_of_requests
from narrows.codesign.models import Stage

SCORED_CELLS = 1_000_000
"""Pairs of a candidate and an event that are scored at once: they fit the memory."""


@dataclass(frozen=True)
class Part:
    """A part of a log, as arrays and as tensors."""

    log: FlowLog
    inputs: Inputs
    device: torch.device

    @cached_property
    def encoded(self) -> Encoded:
        return self.inputs.encode(self.log, self.device)

    def rows(self, batches: Iterable[tuple[Tensor, Tensor]]) -> Array:
        """Scores [R, n] and masks of the requests in their order, as float64 [rows]."""
        kept = [scores[mask].double().cpu() for scores, mask in batches]
        return np.asarray(torch.cat(kept).numpy()) if kept else np.zeros(0)


class Scorer(Protocol):
    """A trained stage."""

    def score(self, part: Part) -> Array:
        """float64 [rows]: larger is better."""


@dataclass(frozen=True)
class Neural:
    """A trained neural stage."""

    model: Stage

    @torch.no_grad()
    def score(self, part: Part) -> Array:
        self.model.eval()
        longest = max(int(part.log.sizes.max(initial=1)), 1)
        size = max(SCORED_CELLS // (longest * max(part.log.sequence.shape[1], 1)), 1)
        return part.rows((scores_of(self.model, batch), batch.mask) for batch in part.encoded.batches(size))


def scores_of(model: nn.Module, batch: Batch) -> Tensor:
    """A model's scores, float32 [R, n]; on CUDA the products are computed in bfloat16."""
    with torch.autocast(batch.item.device.type, torch.bfloat16, enabled=batch.item.device.type == "cuda"):
        scores: Tensor = model(batch)
    return scores.float()


Objective = Callable[[Batch, Tensor], Tensor]
"""The loss of a batch, whose requests' numbers come with it."""


def fit(trained: Iterable[nn.Module], objective: Objective, part: Part, design: Design, seed: int) -> None:
    """Minimize an objective by AdamW, the learning rate falling to 0 in a straight line.

    Args:
        trained: whatever has parameters: stages, and losses with weights of their own.
        objective: see `Objective`.
        part: the training part.
        design: epochs, batch, learning_rate, reg.
        seed: of the order of the requests.
    """
    modules = list(trained)
    parameters = [parameter for module in modules for parameter in module.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=design.learning_rate, weight_decay=design.reg, fused=True)
    steps = design.epochs * -(-len(part.log) // design.batch)
    falling = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    generator = torch.Generator().manual_seed(seed)
    for module in modules:
        module.train()
    for _ in range(design.epochs):
        for some in torch.randperm(len(part.log), generator=generator).split(design.batch):
            requests = some.to(part.device)
            optimizer.zero_grad(set_to_none=True)
            objective(part.encoded.batch(requests), requests).backward()
            optimizer.step()
            falling.step()


def pointwise(scores: Tensor, batch: Batch, weighted: bool, target: Tensor | None = None) -> Tensor:
    """Cross-entropy of each candidate with its label, or another target in [0, 1] [R, n]; the weighted mean.

    Requests count by their weight; ``weighted`` says whether candidates count by theirs.
    """
    weight = batch.mask * (batch.weight if weighted else 1.0)
    if batch.request_weight is not None:
        weight = weight * batch.request_weight[:, None]
    wanted = batch.label if target is None else target
    total = binary_cross_entropy_with_logits(scores, wanted, weight, reduction="sum")
    return total / weight.sum().clamp(min=1e-9)


def listwise(scores: Tensor, teacher: Tensor, mask: Tensor, tau: float, weight: Tensor | None = None) -> Tensor:
    """Cross-entropy of the first place by the student with that by the teacher (ListNet, Cao et al. 2007; the teacher's
    scores divided by ``tau``), the mean over requests by their weights [R]."""
    lowest = torch.finfo(scores.dtype).min
    wanted = torch.softmax((teacher / tau).masked_fill(~mask, lowest), 1)
    said = log_softmax(scores.masked_fill(~mask, lowest), 1)
    return mean_of_requests(-torch.where(mask, wanted * said, 0.0).sum(1), torch.ones_like(mask[:, 0]), weight)


def padded(rows: Array, part: Part) -> Callable[[Tensor, Tensor], Tensor]:
    """A look-up of values that rows have: of requests' numbers and their mask, float32 [R, n], 0 in padding."""
    flat = torch.from_numpy(rows.astype(np.float32)).to(part.device)
    bounds = part.encoded.bounds

    def of(requests: Tensor, mask: Tensor) -> Tensor:
        place = bounds[requests][:, None] + torch.arange(mask.shape[1], device=mask.device)
        return torch.where(mask, flat[place.clamp(max=len(flat) - 1)], 0.0)

    return of


def device_of(choice: Any = None) -> torch.device:
    """The device that is asked for, else CUDA where there is one, else the CPU."""
    return torch.device(choice or ("cuda" if torch.cuda.is_available() else "cpu"))
