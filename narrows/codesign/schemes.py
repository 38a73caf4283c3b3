"""The training schemes: five ways to train the same cascade on the same examples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from narrows.codesign.batch import Batch
from narrows.codesign.design import STAGES, Design
from narrows.codesign.log import Array
from narrows.codesign.losses.relax import by_soft_cut
from narrows.codesign.models import Stage, stage_model
from narrows.codesign.train import Neural, Part, Scorer, fit, listwise, padded, pointwise, scores_of
from narrows.codesign.trees import grow

SPREAD = 1e-6
RANK, TREES = STAGES[-1], "lightgbm"


def trained(design: Design, part: Part, seed: int) -> tuple[Scorer, ...]:
    """The stages of a design, trained on a part of a log; the caller's random numbers stay as they are."""
    devices = [part.device] if part.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        return SCHEMES[design.scheme](design, part, seed)


def independent(design: Design, part: Part, seed: int) -> tuple[Scorer, ...]:
    """The stages before the ranker by the label of all candidates, the ranker by that of what the logged ranker was given."""
    grown: dict[str, Scorer] = {}
    networks: dict[str, Stage] = {}
    for stage in design.stages:
        if getattr(design, stage) == TREES:
            grown[stage] = grow(part.log, part.log.label, "binary", design, seed, candidates_weight(design, part))
        else:
            networks[stage] = network(stage, design, part)

    def objective(batch: Batch, requests: Tensor) -> Tensor:
        total = of_ranker(networks[RANK], batch, design, part)
        for stage, model in networks.items():
            if stage != RANK:
                total = total + pointwise(scores_of(model, batch), batch, design.weighted)
        return total

    fit(networks.values(), objective, part, design, seed)
    return tuple(grown.get(stage) or Neural(networks[stage]) for stage in design.stages)


def distilled(design: Design, part: Part, seed: int) -> tuple[Scorer, ...]:
    """The ranker first; then the stages before it by the ranker's order of all candidates."""
    rank = ranker_alone(design, part, seed)
    scores = rank.score(part)
    tau = design.tau or 1.0
    teacher = padded(scores, part)

    def student(stage: str) -> Scorer:
        if getattr(design, stage) == TREES:
            return grow(part.log, scores / tau, "regression", design, seed)

        def objective(batch: Batch, requests: Tensor, model: Stage) -> Tensor:
            taught = teacher(requests, batch.mask)
            return listwise(scores_of(model, batch), taught, batch.mask, tau, batch.request_weight)

        return taught_by(objective, design, part, seed, stage)

    return *(student(stage) for stage in design.stages[:-1]), rank


def survival(design: Design, part: Part, seed: int) -> tuple[Scorer, ...]:
    """From the ranker on backwards: each stage before it by the label times the soft cuts of the stages after it (as FS-LTR).

    A cut is DFTopK's at a stage's width and scores, which are first scaled to variance 1 within each request.
    """
    done: list[Scorer] = [ranker_alone(design, part, seed)]
    cuts = [(padded(done[0].score(part), part), design.widths[-1])]

    def target(batch: Batch, requests: Tensor) -> Tensor:
        wanted = batch.label
        for rows, width in cuts:
            scores = standard(rows(requests, batch.mask), batch.mask)
            wanted = wanted * by_soft_cut(scores, batch.mask, width, design.tau or 1.0)[0]
        return wanted

    def objective(batch: Batch, requests: Tensor, model: Stage) -> Tensor:
        return pointwise(scores_of(model, batch), batch, design.weighted, target(batch, requests))

    for stage, width in zip(design.stages[-2::-1], design.widths[-2::-1], strict=True):
        if getattr(design, stage) == TREES:
            every = torch.arange(len(part.log), device=part.device).split(design.batch)
            batches = ((part.encoded.batch(some), some) for some in every)
            targets = part.rows((target(batch, some), batch.mask) for batch, some in batches)
            weight = candidates_weight(design, part)
            scorer: Scorer = grow(part.log, targets, "cross_entropy", design, seed, weight)
        else:
            scorer = taught_by(objective, design, part, seed, stage)
        done.insert(0, scorer)
        cuts.append((padded(scorer.score(part), part), width))
    return tuple(done)


def joint(design: Design, part: Part, seed: int) -> tuple[Scorer, ...]:
    """All stages on one loss of the whole cascade; trees and the ranker are updated in turn."""
    from narrows.codesign import losses

    if design.prerank == TREES:
        from narrows.codesign.boosting import in_turn

        done = in_turn(design, part, network(RANK, design, part), seed)
        return done.trees, done.rank
    given: dict[str, Any] = {} if design.tau is None else {"tau": design.tau}
    loss = losses.named(design.loss, len(design.stages), **given).to(part.device)
    models = [network(stage, design, part) for stage in design.stages]
    quotas = design.loss_quotas

    def objective(batch: Batch, requests: Tensor) -> Tensor:
        value: Tensor = loss(tuple(scores_of(model, batch) for model in models), batch, quotas)
        return value

    fit((*models, loss), objective, part, design, seed)
    return tuple(Neural(model) for model in models)


def single(design: Design, part: Part, seed: int) -> tuple[Scorer, ...]:
    """The ranker alone, by the label of all candidates: all of them are given to it."""
    rank = network(RANK, design, part)
    fit((rank,), lambda batch, _: pointwise(scores_of(rank, batch), batch, design.weighted), part, design, seed)
    return (Neural(rank),)


SCHEMES: dict[str, Callable[[Design, Part, int], tuple[Scorer, ...]]] = {
    "independent": independent, "distilled": distilled, "survival": survival, "joint": joint, "single": single,
}  # fmt: skip


def network(stage: str, design: Design, part: Part) -> Stage:
    """A stage's model with random weights."""
    made = stage_model(
        getattr(design, stage), part.inputs, stage == RANK, design.embedding_size, design.layers(stage)
    )  # fmt: skip
    return made.to(part.device)


def candidates_weight(design: Design, part: Part) -> Array | None:
    """What candidates count in a pointwise loss of trees: float32 [rows]; None = 1 each."""
    return part.log.weight if design.weighted else None


def ranker_alone(design: Design, part: Part, seed: int) -> Neural:
    """The ranker as `independent` trains it."""
    rank = network(RANK, design, part)
    fit((rank,), lambda batch, _: of_ranker(rank, batch, design, part), part, design, seed)
    return Neural(rank)


def of_ranker(rank: Stage, batch: Batch, design: Design, part: Part) -> Tensor:
    """The ranker's own loss: over the candidates that the logged ranker was given, or all.

    Of requests for which no ranker was logged, all count: there was nothing that chose them.
    """
    if design.exposure == "own":
        given = batch.grade >= len(part.log.stages) - 1
        batch = batch.narrowed(given | ~(given & batch.mask).any(1, keepdim=True))
    return pointwise(scores_of(rank, batch), batch, design.weighted)


def taught_by(
    objective: Callable[[Batch, Tensor, Stage], Tensor], design: Design, part: Part, seed: int, stage: str = "prerank"
) -> Neural:  # fmt: skip
    """A stage that is trained after the ranker."""
    model = network(stage, design, part)
    fit((model,), lambda batch, requests: objective(batch, requests, model), part, design, seed)
    return Neural(model)


def standard(scores: Tensor, mask: Tensor) -> Tensor:
    """Scores [R, n] scaled to mean 0 and variance 1 over each request's candidates."""
    count = mask.sum(1, keepdim=True).clamp(min=1)
    away = torch.where(mask, scores - torch.where(mask, scores, 0.0).sum(1, keepdim=True) / count, 0.0)
    return away / ((away**2).sum(1, keepdim=True) / count).sqrt().clamp(min=SPREAD)
