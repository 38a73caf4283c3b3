"""Many pre-rankers beside one ranker: what offline metrics are tested on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from narrows.codesign import losses
from narrows.codesign.batch import Batch, Inputs
from narrows.codesign.design import Design
from narrows.codesign.evaluate import evaluate
from narrows.codesign.log import Array, FlowLog
from narrows.codesign.models import Stage
from narrows.codesign.prediction import METRICS, offline, restricted
from narrows.codesign.schemes import ranker_alone, taught_by
from narrows.codesign.train import Neural, Part, Scorer, listwise, padded, pointwise, scores_of
from narrows.codesign.trees import grow


@dataclass(frozen=True)
class Variant:
    """A pre-ranker, and how it is trained beside a ranker that stands still."""

    design: Design
    """Of its model: prerank, hidden, trees, leaves, epochs, learning_rate; quotas of the loss."""
    taught: str = "label"
    """label: the labels; order: the ranker's order; kept: what is wanted and in the ranker's final list; else the name of
    a joint loss, to which the ranker's scores are constants."""
    hidden: tuple[str, ...] = ()
    """Columns that it does not see."""
    shown_only: bool = False
    """Whether it learns from the candidates that were shown alone."""
    noise: float = 0.0
    """Added to its scores: a normal of so many of their standard deviations."""
    plain: str = ""
    """A column that is its score, with no model."""


def variants(log: FlowLog, design: Design) -> dict[str, Variant]:
    """36 pre-rankers or more, by name: kinds, sizes, columns left out, noise, training and losses.

    Args:
        log: its columns that all stages see are left out in turn.
        design: what they share.
    """
    trees, towers = replace(design, prerank="lightgbm"), replace(design, prerank="two_tower")
    mlp, linear = replace(design, prerank="mlp"), replace(design, prerank="linear")
    kinds = {"trees": trees, "two_tower": towers, "mlp": mlp, "linear": linear}
    made = {name: Variant(kind) for name, kind in kinds.items()}
    made |= {f"trees, {count}": Variant(replace(trees, trees=count)) for count in (3, 10, 30)}
    made |= {f"trees, {leaves} leaves": Variant(replace(trees, leaves=leaves)) for leaves in (2, 4)}
    made |= {f"two_tower, {size}": Variant(replace(towers, hidden=(size,))) for size in (2, 8)}
    made |= {f"mlp, {size}": Variant(replace(mlp, hidden=(size,))) for size in (2, 8)}
    made |= {f"{name}, shown": Variant(kind, shown_only=True) for name, kind in kinds.items()}
    made |= {f"{name}, unweighted": Variant(replace(kind, weighted=False)) for name, kind in kinds.items()}
    made |= {f"{name}, order": Variant(kind, "order") for name, kind in kinds.items()}
    made |= {f"{name}, kept": Variant(kinds[name], "kept") for name in ("trees", "two_tower")}
    made |= {f"{name}, {loss}": Variant(kinds[name], loss) for name in ("two_tower", "mlp") for loss in LOSSES}
    made |= {f"trees, noise {noise}": Variant(trees, noise=noise) for noise in (0.3, 1.0, 3.0)}
    seen = [name for name, first in zip(log.columns, log.seen_from, strict=True) if first == 0]
    made |= {f"trees, no {name}": Variant(trees, hidden=(name,)) for name in seen}
    made |= {f"trees, half {half}": Variant(trees, hidden=tuple(seen[half::2])) for half in (0, 1)}
    return made | {f"column {name}": Variant(trees, plain=name) for name in seen[:2]}


LOSSES = ("lcron", "rankflow", "fs_ranknet", "fs_lambdaloss", "arf_v2", "icc")


@dataclass(frozen=True)
class Study:
    """What the offline metrics said of each variant, and what the cascade was worth with it."""

    names: tuple[str, ...]
    metrics: dict[str, Array]
    """float64 [variants] for each of `prediction.METRICS`, on the validation requests."""
    truth: Array
    """float64 [variants]: the value of the final list on the test requests."""


def study(
    train: Part, validation: Part, test: Part, chosen: Mapping[str, Variant], design: Design, seed: int,
    tell: Callable[[str], None] = lambda name: None,
) -> Study:  # fmt: skip
    """Train each variant beside one ranker, which learns from what it was given; then measure and judge.

    Args:
        train: what all of them learn from.
        validation: what the offline metrics are computed on.
        test: what the truth is computed on: it needs ``value``.
        chosen: the variants by name.
        design: of the ranker, and the widths.
        seed: of all training, and of ties.
        tell: called with the name of each variant that is done.

    Raises:
        ValueError: the test part has no truth.
    """
    if test.log.value is None:
        raise ValueError("the truth of a list is known in a generated world alone: this log has no value")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        rank = ranker_alone(design, train, seed)
    of_rank = {id(part): rank.score(part) for part in (train, validation, test)}
    rows: list[dict[str, float]] = []
    truth = []
    for number, (name, variant) in enumerate(chosen.items()):
        own = hiding((train, validation, test), variant.hidden)
        scorer = trained(variant, own[0], of_rank[id(train)], design.widths, seed)
        scores = [noisy(scorer(part), variant.noise, seed + number) for part in own[1:]]
        rows.append(offline(validation.log, scores[0], of_rank[id(validation)], design.widths, seed=seed))
        both = (scores[1], of_rank[id(test)])
        truth.append(evaluate(test.log, ("prerank", "rank"), both, design.widths, seed).metrics["value"])
        tell(name)
    return Study(tuple(chosen), {name: np.array([row[name] for row in rows]) for name in METRICS}, np.array(truth))


def hiding(parts: Sequence[Part], columns: Sequence[str]) -> Sequence[Part]:
    """The same parts, the first for training, some columns of which only the ranker sees."""
    if not columns:
        return parts
    seen_from = np.where(np.isin(parts[0].log.columns, columns), 1, parts[0].log.seen_from).astype(np.int8)
    logs = [replace(part.log, seen_from=seen_from) for part in parts]
    inputs = Inputs.of(logs[0])
    return [Part(log, inputs, parts[0].device) for log in logs]


def noisy(scores: Array, noise: float, seed: int) -> Array:
    """Scores with normal noise of so many of their standard deviations."""
    return scores + noise * scores.std() * np.random.default_rng(seed).normal(size=len(scores)) if noise else scores


def trained(variant: Variant, part: Part, rank: Array, widths: Sequence[int], seed: int) -> Callable[[Part], Array]:
    """What scores a part as the variant does, trained on a part of which the ranker's scores are given."""
    if variant.plain:
        place = part.log.columns.index(variant.plain)
        return lambda other: np.nan_to_num(other.log.features[:, place].astype(np.float64))
    if variant.shown_only:
        rows = part.log.reached == len(part.log.stages)
        part, rank = Part(restricted(part.log, rows), part.inputs, part.device), rank[rows]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        grown = variant.design.prerank == "lightgbm"
        scorer: Scorer = (
            _trees(variant, part, rank, widths, seed) if grown else _neural(variant, part, rank, widths, seed)
        )
    return scorer.score


def kept(log: FlowLog, rank: Array, width: int) -> Array:
    """float32 [rows]: 1 = wanted, and among the ranker's first so many of all candidates."""
    order = np.lexsort((-rank, log.request))
    place = np.empty(len(rank), np.int64)
    place[order] = np.arange(len(rank)) - np.repeat(log.bounds[:-1], log.sizes)
    return (log.label * (place < width)).astype(np.float32)


def _trees(variant: Variant, part: Part, rank: Array, widths: Sequence[int], seed: int) -> Scorer:
    log, design = part.log, variant.design
    if variant.taught == "order":
        return grow(log, rank, "regression", design, seed)
    target = log.label if variant.taught == "label" else kept(log, rank, widths[-1])
    return grow(log, target, "binary", design, seed, log.weight if design.weighted else None)


def _neural(variant: Variant, part: Part, rank: Array, widths: Sequence[int], seed: int) -> Neural:
    design, teacher = variant.design, padded(rank, part)
    targets = padded(kept(part.log, rank, widths[-1]), part)
    quotas = design.quotas or tuple(widths)
    loss = losses.named(variant.taught) if variant.taught in losses.LOSSES else None

    def objective(batch: Batch, requests: Tensor, model: Stage) -> Tensor:
        scores, taught = scores_of(model, batch), teacher(requests, batch.mask)
        if loss is not None:
            value: Tensor = loss((scores, taught), batch, quotas)
            return value
        if variant.taught == "order":
            return listwise(scores, taught, batch.mask, 1.0)
        target = targets(requests, batch.mask) if variant.taught == "kept" else None
        return pointwise(scores, batch, design.weighted, target)

    return taught_by(objective, design, part, seed)
