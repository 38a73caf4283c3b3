"""What a cascade costs to serve and to train: counted operations, measured seconds, bytes, memory, and money."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from dataclasses import field as dataclass_field
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked

from narrows.codesign.log import Array, FlowLog

if TYPE_CHECKING:
    import torch

    from narrows.codesign.counting import Counted
    from narrows.codesign.train import Part

COUNTED = 16
"""Requests of the batch whose operations are counted."""
RUNS = 7
"""Timed repetitions, after one that warms up."""
THOUSAND, HOUR, GIGABYTE = 1_000.0, 3_600.0, 1e9
PRICED = 1e9
"""Requests whose serving is priced: fewer would cost too little to read."""


@checked(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Prices:
    """What a unit of compute costs."""

    currency: str = "EUR"
    """As it is shown."""
    cpu_hour: float = Field(default=0.04, ge=0)
    """Price of an hour of one CPU core."""
    gpu_hour: float = Field(default=2.5, ge=0)
    """Price of an hour of one GPU."""
    gb: float = Field(default=0.0, ge=0)
    """Price of a GB of 10^9 bytes of candidates' data sent to a stage: 0 where all stages run on one machine."""
    channels: dict[str, Annotated[float, Field(ge=0)]] = dataclass_field(default_factory=dict)
    """CPU seconds that a recall channel takes for a thousand requests in which it is asked, by its name: no log tells."""

    def of(self, cpu_seconds: float, gpu_seconds: float = 0.0, sent_bytes: float = 0.0) -> float:
        """The price of some work."""
        return cpu_seconds / HOUR * self.cpu_hour + gpu_seconds / HOUR * self.gpu_hour + sent_bytes / GIGABYTE * self.gb


@dataclass(frozen=True)
class Seconds:
    """Of a thousand requests: the median of repeated runs, and the least and the most."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class StageCost:
    """What one stage costs, for a request unless said otherwise."""

    candidates: float
    flops: float
    """Operations: matrix products of networks, comparisons of trees, dot products of an index."""
    cpu: Seconds
    """CPU seconds of all threads, a thousand requests."""
    gpu: Seconds
    """GPU seconds, a thousand requests; 0 where there is none."""
    moved_bytes: float
    """Read and written by its operators."""
    sent_bytes: float
    """Of the candidates' features and codes that reach it."""
    parameter_bytes: float
    """Of the model, once."""
    peak_bytes: float
    """Alive at once while a batch is scored, without parameters: of the whole batch."""

    def money(self, prices: Prices, requests: float = PRICED) -> float:
        """The price of serving so many requests."""
        share = requests / THOUSAND
        return prices.of(self.cpu.median * share, self.gpu.median * share, self.sent_bytes * requests)

    def flat(self, stage: str) -> dict[str, float]:
        """As flat metrics, such as ``flops_stage1`` and ``cpu_seconds_stage1``."""
        plain = {name: value for name, value in asdict(self).items() if name not in ("cpu", "gpu")}
        times = {"cpu_seconds": self.cpu, "gpu_seconds": self.gpu}
        spread = {
            f"{name}{end}": getattr(seconds, part)
            for name, seconds in times.items() for end, part in (("", "median"), ("_low", "low"), ("_high", "high"))
        }  # fmt: skip
        return {f"{name}_{stage}": float(value) for name, value in (plain | spread).items()}


def timed(work: Callable[[], object], requests: int, runs: int = RUNS, cuda: bool = False) -> tuple[Seconds, Seconds]:
    """CPU and GPU seconds of a thousand requests.

    CPU seconds are those of all threads of the process, so that a stage on two cores is not half price.

    Args:
        work: scores ``requests`` requests.
        requests: how many.
        runs: repetitions; one more warms up.
        cuda: whether the work runs on a GPU: then its seconds are those between two events on its stream.
    """
    work()
    cpu, gpu = [], []
    for _ in range(runs):
        if cuda:
            import torch

            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            torch.cuda.synchronize()
            started = time.process_time()
            begin.record()
            work()
            end.record()
            torch.cuda.synchronize()
            gpu.append(begin.elapsed_time(end) / 1e3)
        else:
            started = time.process_time()
            work()
        cpu.append(time.process_time() - started)
    scale = THOUSAND / requests
    return _seconds(cpu, scale), _seconds(gpu, scale)


def stage_cost(scorer: Any, part: Part, runs: int = RUNS) -> StageCost:
    """What it costs to score the requests of a part with a stage.

    Args:
        scorer: a trained stage: of one with a ``model`` (torch) operations and bytes are counted, of one with a ``booster``
            (LightGBM) comparisons.
        part: requests as they come to the stage.
        runs: timed repetitions.
    """
    from narrows.codesign.counting import comparisons, parameter_bytes

    requests, encoded = len(part.log), part.encoded
    rows = float(part.log.bounds[-1]) / requests
    cpu, gpu = timed(lambda: scorer.score(part), requests, runs, part.device.type == "cuda")
    sent = rows * (encoded.features.shape[1] * encoded.features.element_size() + encoded.item.element_size())
    if booster := getattr(scorer, "booster", None):
        steps = comparisons(booster, getattr(scorer, "trees", None))
        read = rows * (sent / rows + 12 * steps)  # a node's feature, threshold and children
        return StageCost(rows, steps * rows, cpu, gpu, read, sent, len(booster.model_to_string().encode()), 0.0)
    found, share = _counted(scorer.model, part)
    return StageCost(
        rows,
        found.flops * share,
        cpu,
        gpu,
        found.moved_bytes * share,
        sent,
        parameter_bytes(scorer.model),
        found.peak_bytes,
    )


def operations(models: Sequence[torch.nn.Module], part: Part, widths: Sequence[int]) -> float:
    """What `cascade_cost` counts as operations of a request, of networks that need not be trained.

    Args:
        models: one a stage, in order.
        part: requests with all their candidates.
        widths: how many candidates each stage keeps.
    """
    total = 0.0
    for model, width in zip(models, widths, strict=True):
        found, share = _counted(model, part)
        total += found.flops * share
        part = replace(part, log=best_rows(part.log, np.zeros(len(part.log.item)), width))
    return total


def _counted(model: torch.nn.Module, part: Part) -> tuple[Counted, float]:
    """One forward pass over some requests, and the factor that makes it that of a request of the mean size."""
    import torch

    from narrows.codesign.counting import counted

    batch = part.encoded.batch(torch.arange(min(COUNTED, len(part.log)), device=part.encoded.item.device))
    return counted(lambda: model.eval()(batch)), float(part.log.bounds[-1]) / len(part.log) / batch.mask.numel()


def cascade_cost(scorers: Sequence[Any], part: Part, widths: Sequence[int], runs: int = RUNS) -> list[StageCost]:
    """What each stage of a cascade costs: the first scores all candidates, each next one those that the one before keeps.

    Args:
        scorers: one a stage, in order.
        part: requests with all their candidates.
        widths: how many candidates each stage keeps.
        runs: timed repetitions.
    """
    found = []
    for scorer, width in zip(scorers, widths, strict=True):
        found.append(stage_cost(scorer, part, runs))
        part = replace(part, log=best_rows(part.log, scorer.score(part), width))
    return found


def best_rows(log: FlowLog, score: Array, width: int) -> FlowLog:
    """The log with the best candidates of each request alone; its arrays of rows, not its oracle, are cut."""
    order = np.lexsort((-score, log.request))
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order)) - np.repeat(log.bounds[:-1], log.sizes)
    return log.only(place < width)


def training_money(seconds: float, prices: Prices, cuda: bool = False, cores: float = 1.0) -> float:
    """The price of training for some wall seconds, on a GPU or on some cores."""
    return prices.of(0.0 if cuda else seconds * cores, seconds if cuda else 0.0)


def _seconds(runs: list[float], scale: float) -> Seconds:
    if not runs:
        return Seconds(0.0, 0.0, 0.0)
    return Seconds(statistics.median(runs) * scale, min(runs) * scale, max(runs) * scale)
