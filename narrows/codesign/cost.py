"""What a cascade costs to serve and to train: counted operations, measured seconds, bytes, memory, and money."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked

if TYPE_CHECKING:
    from narrows.codesign.batch import Batch

RUNS = 7
"""Timed repetitions, after one that warms up."""
THOUSAND, HOUR, GIGABYTE = 1_000.0, 3_600.0, 1e9


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

    def money(self, prices: Prices, requests: float = 1e6) -> float:
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


def stage_cost(model: Any, batch: Batch, runs: int = RUNS) -> StageCost:
    """What it costs to score a batch with a stage's model.

    Args:
        model: a torch module that is called with a batch; of one with a ``booster`` (LightGBM), whose
            ``rows(batch)`` are its features, comparisons are counted.
        batch: requests as they are served, on the model's device.
        runs: timed repetitions.
    """
    import torch

    from narrows.codesign.counting import comparisons, counted, parameter_bytes

    requests, cuda = len(batch.mask), batch.mask.device.type == "cuda"
    rows = float(batch.mask.sum()) / requests
    if isinstance(model, torch.nn.Module):
        model.eval()

    def work() -> object:
        with torch.inference_mode():
            return model(batch)

    cpu, gpu = timed(work, requests, runs, cuda)
    sent = rows * (batch.features.shape[2] * batch.features.element_size() + batch.item.element_size())
    if booster := getattr(model, "booster", None):
        matrix = model.rows(batch)
        steps = comparisons(booster, matrix)
        text = len(booster.model_to_string().encode())
        return StageCost(rows, steps * rows, cpu, gpu, matrix.nbytes / requests + 12 * steps * rows, sent, text, 0.0)
    found = counted(lambda: model(batch))
    padded = requests * batch.mask.shape[1]
    return StageCost(
        rows, found.flops / padded * rows, cpu, gpu, found.moved_bytes / padded * rows, sent,
        parameter_bytes(model), found.peak_bytes,
    )  # fmt: skip


def cascade_cost(models: Sequence[Any], batch: Batch, widths: Sequence[int], runs: int = RUNS) -> list[StageCost]:
    """What each stage of a cascade costs: the first scores all candidates, each next one those that the one before keeps.

    Args:
        models: one a stage, in order.
        batch: requests with all their candidates.
        widths: how many candidates each stage keeps.
        runs: timed repetitions.
    """
    import torch

    found, current = [], batch
    for model, width in zip(models, widths, strict=True):
        found.append(stage_cost(model, current, runs))
        with torch.inference_mode():
            scores = model(current).masked_fill(~current.mask, -torch.inf)
        place = scores.topk(min(width, scores.shape[1]), dim=1).indices
        chosen = torch.zeros_like(current.mask).scatter_(1, place, True)
        current = current.narrowed(chosen)
    return found


def training_money(seconds: float, prices: Prices, cuda: bool = False, cores: float = 1.0) -> float:
    """The price of training for some wall seconds, on a GPU or on some cores."""
    return prices.of(0.0 if cuda else seconds * cores, seconds if cuda else 0.0)


def _seconds(runs: list[float], scale: float) -> Seconds:
    if not runs:
        return Seconds(0.0, 0.0, 0.0)
    return Seconds(statistics.median(runs) * scale, min(runs) * scale, max(runs) * scale)
