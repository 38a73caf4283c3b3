"""What an experiment says: quality and cost of each design with intervals, the front, who loses what to whom, the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from narrows.codesign.channels import OTHERS
from narrows.codesign.cost import PRICED, THOUSAND, Prices
from narrows.codesign.design import LAYERS, Design
from narrows.codesign.evaluate import CHANNELS, WEIGHT
from narrows.codesign.experiment import Planned
from narrows.codesign.results import Result
from narrows.codesign.seeds import Interval, Judged, drawn, interval, means

BOUGHT = ("widths", "channels", "embedding_size", *LAYERS, *LAYERS.values(), "trees", "leaves")
"""Settings in which more compute can be bought: sizes and kinds of models."""
MOST = 0.8
"""Share of a rise in cost that must be one stage's for the rise to be that stage's."""


@dataclass(frozen=True)
class Row:
    """A design."""

    name: str
    design: Design
    quality: Interval
    """Of the experiment's metric, over users and seeds."""
    seeds: tuple[float, ...]
    """The metric of each seed."""
    metrics: dict[str, float]
    """Means over the seeds, and the cost."""
    money: float
    """Of serving a billion requests."""
    training_money: float
    tuned: dict[str, Any]
    """The settings as they were tuned."""

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that serve."""
        return self.design.stages


@dataclass(frozen=True)
class Pair:
    """One design against another, on the same users and seeds."""

    one: int
    other: int
    difference: Interval
    """The one's metric minus the other's."""
    ratio: Interval
    """The one's metric by the other's."""


@dataclass(frozen=True)
class Step:
    """What more compute in one stage buys: two designs that differ in one setting."""

    stage: str
    cheap: int
    dear: int
    setting: str
    gain: Interval
    """In the metric."""
    money: float
    """More, a billion requests."""
    flops: float
    """More, a request."""


@dataclass(frozen=True)
class Summary:
    """All that the report, MLflow and the command line show."""

    planned: Planned
    rows: tuple[Row, ...]
    pairs: dict[tuple[int, int], Pair]
    front: tuple[int, ...]
    """Designs that no cheaper one matches, the cheapest first."""
    steps: tuple[Step, ...]


def summarise(planned: Planned, results: Sequence[Sequence[Result]]) -> Summary:
    """Put the results of all designs together.

    Args:
        planned: the experiment.
        results: [designs][seeds]
    """
    experiment, metric = planned.experiment, planned.experiment.main_metric
    judged = [
        Judged.of([each.by_request[metric] for each in seeds], seeds[0].user, seeds[0].by_request.get(WEIGHT))
        for seeds in results
    ]
    value, draws = means(judged), drawn(judged)
    rows = []
    for at, (name, design, seeds) in enumerate(zip(planned.names, planned.designs, results, strict=True)):
        mean = averaged([each.metrics for each in seeds])
        prices = experiment.prices
        mean |= asked(design, prices, mean)
        served = [mean[f"{kind}_seconds"] * PRICED / THOUSAND for kind in ("cpu", "gpu")]
        money = prices.of(served[0], served[1], mean["sent_bytes"] * PRICED)
        training = prices.of(mean["train_cpu_seconds"], mean["train_seconds"] if served[1] else 0.0)
        each_seed = tuple(float(one.metrics[metric]) for one in seeds)
        rows.append(
            Row(name, design, interval(value[at], draws[at]), each_seed, mean, money, training, seeds[0].design)
        )
    pairs = {
        (one, other): Pair(
            one, other, interval(value[one] - value[other], draws[one] - draws[other]),
            interval(value[one] / value[other], draws[one] / np.where(draws[other] > 0, draws[other], np.nan))
            if value[other] > 0 else Interval(np.nan, np.nan, np.nan),
        )
        for one in range(len(rows)) for other in range(len(rows)) if one != other
    }  # fmt: skip
    return Summary(planned, tuple(rows), pairs, front(rows), tuple(steps(rows, pairs)))


def asked(design: Design, prices: Prices, mean: dict[str, float]) -> dict[str, float]:
    """The CPU seconds a thousand requests with those of the priced recall channels that the design asks."""
    if not prices.channels:
        return {}
    quotas = dict(design.channels)
    others = quotas.get(OTHERS, 1)
    seconds = sum(seconds for name, seconds in prices.channels.items() if quotas.get(name, others))
    return {f"cpu_seconds_{CHANNELS}": seconds, "cpu_seconds": mean["cpu_seconds"] + seconds}


def averaged(metrics: Sequence[dict[str, float]]) -> dict[str, float]:
    """The mean of each metric over the seeds that have it."""
    names = dict.fromkeys(name for each in metrics for name in each)
    return {name: float(np.mean([each[name] for each in metrics if name in each])) for name in names}


def front(rows: Sequence[Row]) -> tuple[int, ...]:
    """The Pareto front of money and quality, the cheapest first."""
    found: list[int] = []
    for at in sorted(range(len(rows)), key=lambda at: (rows[at].money, -rows[at].quality.value)):
        if not found or rows[at].quality.value > rows[found[-1]].quality.value:
            found.append(at)
    return tuple(found)


def steps(rows: Sequence[Row], pairs: dict[tuple[int, int], Pair]) -> list[Step]:
    """What more compute bought in a stage: pairs of designs that differ in one setting and, in cost, in one stage."""
    found = []
    for cheap, dear in pairs:
        one, other = rows[cheap], rows[dear]
        differing = [
            field.name
            for field in fields(Design)
            if getattr(one.design, field.name) != getattr(other.design, field.name)
        ]
        rise = other.metrics["flops"] - one.metrics["flops"]
        if (
            len(differing) != 1
            or differing[0] not in BOUGHT
            or one.stages != other.stages
            or rise <= 0.01 * one.metrics["flops"]
        ):
            continue
        by_stage = {stage: other.metrics[f"flops_{stage}"] - one.metrics[f"flops_{stage}"] for stage in one.stages}
        stage = max(by_stage, key=lambda name: by_stage[name])
        if by_stage[stage] < MOST * rise:
            continue
        gain = pairs[dear, cheap].difference
        found.append(Step(stage, cheap, dear, differing[0], gain, other.money - one.money, rise))
    return _nearest(found)


def _nearest(found: list[Step]) -> list[Step]:
    """Of the steps from one design in one setting the smallest: the next unit, not the last."""
    kept: dict[Any, Step] = {}
    for step in sorted(found, key=lambda step: step.flops):
        kept.setdefault((step.cheap, step.setting, step.stage), step)
    return sorted(kept.values(), key=lambda step: (step.stage, step.cheap))


def within(summary: Summary) -> list[tuple[str, list[int]]]:
    """For each budget that the experiment gives: its words, and the designs that keep it."""
    budget, currency = summary.planned.experiment.budget, summary.planned.experiment.prices.currency
    kinds = {
        "flops": ("operations a request", lambda row: row.metrics["flops"]),
        "cpu_seconds": ("CPU seconds a thousand requests", lambda row: row.metrics["cpu_seconds"]),
        "money": (f"{currency} a billion requests", lambda row: row.money),
    }
    found = []
    for name, (words, cost) in kinds.items():
        if (limit := getattr(budget, name)) is not None:
            found.append((f"{limit:g} {words}", [at for at, row in enumerate(summary.rows) if cost(row) <= limit]))
    return found
