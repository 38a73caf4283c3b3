"""A single stage as dear as a cascade: its sizes are chosen so that a request takes as many operations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from narrows.codesign.cost import operations
from narrows.codesign.design import LAYERS, STAGES, Design
from narrows.codesign.errors import CodesignError
from narrows.codesign.experiment import Planned
from narrows.codesign.planning import reference
from narrows.codesign.run import Parts, timed_part
from narrows.codesign.schemes import network
from narrows.codesign.source import Prepared

SMALLEST, LARGEST = 1 / 64, 32.0
"""Factors of the sizes that are looked through."""
STEPS = 16
"""Halvings of a bisection over the factor: finer than a unit of a layer of 512."""


def matched(planned: Planned, prepared: Prepared) -> Planned:
    """The experiment with the sizes of its designs of equal cost, counted on its log; itself where there are none.

    Raises:
        CodesignError: no size of a design is as cheap as the cascade.
    """
    at = reference(planned.designs)
    if planned.matched or at is None or all(design.cost == "own" for design in planned.designs):
        return planned
    parts = Parts.of(prepared.load())
    target = counted(planned.designs[at], parts)
    sized = tuple(
        design if design.cost == "own" else as_dear(design, target, parts, name)
        for design, name in zip(planned.designs, planned.names, strict=True)
    )
    return replace(planned, designs=sized, matched=True)


def counted(design: Design, parts: Parts) -> float:
    """The operations of a request, of a design of networks, as its result will say them."""
    part = timed_part(parts, design)
    with torch.random.fork_rng([]):
        models = [network(stage, design, part) for stage in design.stages]
    return operations(models, part, design.served_widths)


def as_dear(design: Design, target: float, parts: Parts, name: str) -> Design:
    """The largest single stage whose request takes no more operations than the target.

    First embeddings and layers are scaled alike, then the layers alone to come nearer.

    Raises:
        CodesignError: the smallest takes more.
    """
    whole = _largest(lambda factor: _scaled(design, factor, factor), target, parts)
    if whole is None:
        raise CodesignError(
            f"{name}: the smallest {design.rank} takes more than the {target:,.0f} operations of the cascade; "
            "give it a cheaper model, such as rank = 'mlp'"
        )
    finer = _largest(lambda factor: _scaled(replace(whole, rank_hidden=design.rank_hidden), 1.0, factor), target, parts)
    return max(whole, finer or whole, key=lambda each: counted(each, parts))


def _largest(sized: Callable[[float], Design], target: float, parts: Parts) -> Design | None:
    """The design of the largest factor that keeps the target."""
    low, high = SMALLEST, LARGEST
    if counted(sized(low), parts) > target:
        return None
    for _ in range(STEPS):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if counted(sized(middle), parts) <= target else (low, middle)
    return sized(low)


def _scaled(design: Design, of_embeddings: float, of_layers: float) -> Design:
    size = min(max(round(design.embedding_size * of_embeddings), 1), 512)
    stage = STAGES[-1]
    hidden = tuple(max(round(units * of_layers), 1) for units in design.layers(stage))
    layers: dict[str, Any] = {LAYERS[stage]: hidden}
    return replace(design, embedding_size=size, **layers)
