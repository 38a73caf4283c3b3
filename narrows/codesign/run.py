"""Training and judging one design on one log."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch

from narrows.codesign.batch import Inputs
from narrows.codesign.channels import Quotas, offered
from narrows.codesign.design import Design
from narrows.codesign.evaluate import Evaluation, evaluate
from narrows.codesign.log import Array, FlowLog
from narrows.codesign.schemes import trained
from narrows.codesign.train import Part, Scorer, device_of

TIMED_REQUESTS = 128
"""Requests of the test part on which the cost of serving is measured, the latest ones."""
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
    _narrowed: dict[Quotas, Parts] = field(default_factory=dict, compare=False, repr=False)
    """What `of_channels` made last."""

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

    def of_channels(self, quotas: Quotas) -> Parts:
        """The same requests with the candidates that recall channels give within their quotas.

        Raises:
            CodesignError: the log does not know such a channel, or nothing is left of a part.
        """
        if not quotas:
            return self
        if quotas not in self._narrowed:
            self._narrowed.clear()
            train, validation, test = (_offered(part, quotas) for part in (self.train, self.validation, self.test))
            self._narrowed[quotas] = Parts(train, validation, test)
        return self._narrowed[quotas]


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
    part = parts.of_channels(design.channels).train
    _ = part.encoded  # not part of the training's time: designs share it
    begin = time.perf_counter()
    models = trained(design, part, seed)
    if part.device.type == "cuda":
        torch.cuda.synchronize()
    seconds = time.perf_counter() - begin
    found = judged(design, models, parts, seed, judge)
    return Outcome(found.metrics, found.by_request, found.user, seconds, models)


def judged(
    design: Design, scorers: Sequence[Scorer], parts: Parts, seed: int, judge: Literal["validation", "test"] = "test"
) -> Evaluation:
    """What trained stages keep of a part; what no channel offers within its quota is lost to them.

    Args:
        design: channels, stages and widths.
        scorers: one a stage.
        parts: of the whole log.
        seed: of the ties.
        judge: on which part.
    """
    whole, own = (getattr(each, judge) for each in (parts, parts.of_channels(design.channels)))
    rows = offered(whole.log, design.channels)
    scores = []
    for scorer in scorers:
        score = np.zeros(len(whole.log.item))
        score[slice(None) if rows is None else rows] = scorer.score(own)
        scores.append(score)
    return evaluate(whole.log, design.stages, scores, design.served_widths, seed, rows)


def timed_part(parts: Parts, design: Design) -> Part:
    """The requests on which a design's cost of serving is counted and measured, with the candidates that it gets."""
    part = parts.of_channels(design.channels).test
    latest = np.arange(max(0, len(part.log) - TIMED_REQUESTS), len(part.log))
    return Part(part.log.take(latest), part.inputs, part.device)


def _offered(part: Part, quotas: Quotas) -> Part:
    rows = offered(part.log, quotas)
    return part if rows is None else Part(part.log.only(rows), part.inputs, part.device)
