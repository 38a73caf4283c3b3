"""Training and judging one design on one log."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

import torch

from narrows.codesign.batch import Inputs
from narrows.codesign.design import Design
from narrows.codesign.evaluate import evaluate
from narrows.codesign.log import Array, FlowLog
from narrows.codesign.schemes import trained
from narrows.codesign.train import Part, Scorer, device_of

SHARES = (0.7, 0.15, 0.15)
"""Of the requests, by time: for training, for tuning, for the test."""


@dataclass(frozen=True)
class Outcome:
    """What a design came to."""

    metrics: dict[str, float]
    """See `narrows.codesign.evaluate.evaluate`."""
    by_request: dict[str, Array]
    """float64 [judged requests]: the main metrics, for the paired bootstrap."""
    user: Array
    """int64 [judged requests]"""
    train_seconds: float
    models: tuple[Scorer, ...]
    """The trained stages, in order: `Neural` or `Trees`."""


@dataclass(frozen=True)
class Parts:
    """A log split by time and prepared for models: what designs on the same log have in common."""

    train: Part
    validation: Part
    test: Part

    @classmethod
    def of(cls, log: FlowLog, device: str | torch.device | None = None) -> Parts:
        """Split a log; scales and vocabulary are learned from the training part.

        Raises:
            FlowLogError: the log has too few instants.
        """
        parts = log.split(SHARES)
        inputs = Inputs.of(parts[0])
        train, validation, test = (Part(part, inputs, device_of(device)) for part in parts)
        return cls(train, validation, test)


def run(
    design: Design, log: FlowLog, seed: int = 0, *, judge: Literal["validation", "test"] = "test",
    parts: Parts | None = None,
) -> Outcome:  # fmt: skip
    """Train a design on the oldest requests of a log and judge its cascade on later ones.

    Args:
        design: what to train.
        log: the requests.
        seed: of the weights, the order of the batches and the ties.
        judge: on which part: the test is for results, the validation for tuning.
        parts: of this log, where they are at hand.
    """
    parts = parts or Parts.of(log)
    part = parts.train
    _ = part.encoded  # not part of the training's time: designs share it
    begin = time.perf_counter()
    models = trained(design, part, seed)
    if part.device.type == "cuda":
        torch.cuda.synchronize()
    seconds = time.perf_counter() - begin
    judged_part = parts.test if judge == "test" else parts.validation
    scores = [model.score(judged_part) for model in models]
    judged = evaluate(judged_part.log, design.stages, scores, design.served_widths, seed)
    return Outcome(judged.metrics, judged.by_request, judged.user, seconds, models)
