"""Running an experiment: every design is tuned alike and trained with every seed; what is there already is not done again."""

from __future__ import annotations

import logging
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from narrows.codesign.compress import compressed
from narrows.codesign.cost import cascade_cost
from narrows.codesign.design import Design
from narrows.codesign.designs import flat, trained_as
from narrows.codesign.experiment import Planned
from narrows.codesign.log import FlowLog
from narrows.codesign.matching import matched
from narrows.codesign.results import Outcomes, Result
from narrows.codesign.run import Outcome, Parts, judged, run, timed_part
from narrows.codesign.source import Prepared, Runs, prepare
from narrows.codesign.tuning import tuned
from narrows.engine.cost import meter

DIVERGED = -1.0
"""What a trial is worth whose training came to no numbers: less than any metric."""
log = logging.getLogger(__name__)
Trainer = Callable[..., Outcome]


@dataclass
class Lab:
    """Trains and judges designs of one experiment in one process."""

    planned: Planned
    state: Path
    prepared: Prepared
    train: Trainer = run
    say: Callable[[str, bool], None] = lambda text, worked: None
    """Told of each piece of work: what came of it, and whether it was work or was there already."""
    _kept: OrderedDict[tuple[Design, int], tuple[Outcome, dict[str, float]]] = field(default_factory=OrderedDict)

    @cached_property
    def flow(self) -> FlowLog:
        return self.prepared.load()

    @cached_property
    def parts(self) -> Parts:
        return Parts.of(self.flow)

    @cached_property
    def outcomes(self) -> Outcomes:
        return Outcomes(self.state)

    def results(self, number: int) -> list[Result]:
        """Tune a design, then train and judge it with every seed; [seeds]."""
        experiment, name = self.planned.experiment, self.planned.names[number]
        design = self.planned.designs[number]
        best = tuned(trained_as(design), experiment.tune, lambda tried: self._trial(tried, name))
        chosen = {key: getattr(best, key) for key in ("learning_rate", "batch", "tau", "tree_learning_rate")}
        return [self._result(replace(design, **chosen), seed, name) for seed in range(experiment.seeds)]

    def _trial(self, design: Design, name: str) -> float:
        """How good a design is on the validation part, with the first seed."""
        metric = self.planned.experiment.main_metric
        fingerprint = self.outcomes.fingerprint(design, self.prepared.fingerprint, 0, judged="validation")
        found = self.outcomes.read(fingerprint)
        if found is None:
            try:
                outcome = self.train(design, self.flow, 0, judge="validation", parts=self.parts)
                found = Result(outcome.metrics, {}, np.zeros(0, np.int64), flat(design))
            except ValueError as error:
                if "diverged" not in str(error):
                    raise
                found = Result({metric: DIVERGED}, {}, np.zeros(0, np.int64), flat(design))
            self.outcomes.write(fingerprint, found, {"seed": 0, "judged": "validation"})
            self.say(f"{name}: a trial, {metric} {found.metrics[metric]:.4f}", True)
        else:
            self.say("", False)
        return found.metrics.get(metric, DIVERGED)

    def _result(self, design: Design, seed: int, name: str) -> Result:
        """A design on the test part; with the first seed also what it costs to serve."""
        fingerprint = self.outcomes.fingerprint(design, self.prepared.fingerprint, seed, judged="test")
        if kept := self.outcomes.read(fingerprint):
            self.say("", False)
            return kept
        outcome, spent = self._outcome(trained_as(design), seed)
        scorers = outcome.models
        metrics, by_request, user = outcome.metrics | spent, outcome.by_request, outcome.user
        if design.precision != "float32":
            scorers = tuple(compressed(each, design.precision) for each in scorers)
            found = judged(design, scorers, self.parts, seed)
            by_request, user = found.by_request, found.user
            metrics |= found.metrics
        if not seed:
            metrics |= self._cost(design, scorers)
        about = {"seed": seed, "judged": "test"}
        result = self.outcomes.write(fingerprint, Result(metrics, by_request, user, flat(design)), about)
        metric = self.planned.experiment.main_metric
        self.say(f"{name}: seed {seed}, {metric} {metrics[metric]:.4f}", True)
        return result

    def _outcome(self, design: Design, seed: int) -> tuple[Outcome, dict[str, float]]:
        """The trained models, which precisions of one design share, and what the training took."""
        key = (design, seed)
        if key not in self._kept:
            with meter() as spent:
                outcome = self.train(design, self.flow, seed, judge="test", parts=self.parts)
            took = {
                "train_seconds": outcome.train_seconds,
                "train_cpu_seconds": spent.cpu_seconds,
                "train_peak_mb": spent.peak_mb,
            }
            self._kept[key] = outcome, took
            while len(self._kept) > self.planned.experiment.seeds:
                self._kept.popitem(last=False)
        return self._kept[key]

    def _cost(self, design: Design, scorers: tuple[Any, ...]) -> dict[str, float]:
        costs = cascade_cost(scorers, timed_part(self.parts, design), design.served_widths)
        metrics = {
            key: value
            for stage, cost in zip(design.stages, costs, strict=True)
            for key, value in cost.flat(stage).items()
        }
        for total in ("flops", "cpu_seconds", "gpu_seconds", "moved_bytes", "sent_bytes", "parameter_bytes"):
            metrics[total] = sum(metrics[f"{total}_{stage}"] for stage in design.stages)
        return metrics


@dataclass
class Progress:
    """Says what was done and how long the rest will take."""

    pieces: int
    began: float = field(default_factory=time.monotonic)
    done: int = 0
    worked: int = 0

    def __call__(self, text: str, worked: bool) -> None:
        self.done += 1
        self.worked += worked
        if not worked:
            return
        left = (time.monotonic() - self.began) / self.worked * (self.pieces - self.done)
        log.info("%d of %d: %s; at most %s left", self.done, self.pieces, text, in_words(left))


def in_words(seconds: float) -> str:
    """``40 s``, ``12 min``, ``3.4 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def execute(
    planned: Planned,
    state: Path,
    *,
    jobs: int = 1,
    runs: Runs | None = None,
    only: int | None = None,
    train: Trainer = run,
) -> list[list[Result]]:
    """Run an experiment, or go on with it.

    Args:
        planned: the experiment.
        state: the state folder.
        jobs: processes that train at once, each with its share of the cores.
        runs: makes a flow log out of a finished run.
        only: the number of the one design that is run.
        train: trains and judges a design.

    Returns:
        [designs][seeds]
    """
    prepared = prepare(planned, state, runs)
    planned = matched(planned, prepared)
    numbers = list(range(len(planned.designs))) if only is None else [only]
    pieces = len(numbers) * (planned.experiment.seeds + max(planned.experiment.tune.trials, 0))
    progress = Progress(pieces)
    if jobs <= 1 or len(numbers) == 1:
        lab = Lab(planned, state, prepared, train, progress)
        return [lab.results(number) for number in numbers]
    return list(_in_processes(planned, state, prepared, numbers, jobs))


def _in_processes(
    planned: Planned, state: Path, prepared: Prepared, numbers: list[int], jobs: int
) -> Iterator[list[Result]]:
    """Designs, each in one of several processes; designs that share a training follow each other in one of them."""
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    groups: dict[Design, list[int]] = {}
    for number in numbers:
        groups.setdefault(trained_as(planned.designs[number]), []).append(number)
    found: dict[int, list[Result]] = {}
    threads = max(1, (os.cpu_count() or 1) // jobs)
    with ProcessPoolExecutor(jobs, get_context("spawn"), _begin, (threads,)) as pool:
        waiting = [pool.submit(_group, planned, state, prepared, group) for group in groups.values()]
        began = time.monotonic()
        for at, (group, future) in enumerate(zip(groups.values(), waiting, strict=True), 1):
            found |= dict(zip(group, future.result(), strict=True))
            left = (time.monotonic() - began) / at * (len(groups) - at)
            log.info("%s: done, %d of %d; about %s left", planned.names[group[0]], at, len(groups), in_words(left))
    yield from (found[number] for number in numbers)


def _begin(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)


def _group(planned: Planned, state: Path, prepared: Prepared, numbers: list[int]) -> list[list[Result]]:
    lab = Lab(planned, state, prepared)
    return [lab.results(number) for number in numbers]
