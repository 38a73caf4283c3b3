"""The training schemes: five ways to train the same cascade on the same examples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from narrows.codesign.batch import Batch
from narrows.codesign.design import Design
from narrows.codesign.errors import CodesignError
from narrows.codesign.losses.relax import by_soft_cut
from narrows.codesign.models import Stage, stage_model
from narrows.codesign.train import Neural, Part, Scorer, fit, listwise, padded, pointwise, scores_of
from narrows.codesign.trees import grow

SPREAD = 1e-6


def trained(design: Design, part: Part, seed: int) -> tuple[Scorer, ...]:
    """The stages of a design, trained on a part of a log; the caller's random numbers stay as they are.

    Raises:
        CodesignError: an apart trained ranker is to learn from what the logged ranker was given, and it was given nothing.
    """
    apart = design.scheme in ("independent", "distilled", "survival") and design.exposure == "own"
    if apart and not (part.log.reached >= len(part.log.stages) - 1).any():
        raise CodesignError(
            "no candidate of the training requests came to the logged ranker: let the ranker learn from all candidates, "
            'with exposure = "all"'
        )
    devices = [part.device] if part.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        return SCHEMES[design.scheme](design, part, seed)


def independent(design: Design, part: Part, seed: int) -> tuple[Scorer, ...]:
    """The pre-ranker by the label of all candidates, the ranker by that of what the logged ranker was given."""
    if design.prerank == "lightgbm":
        weight = part.log.weight if design.weighted else None
        return grow(part.log, part.log.label, "binary", design, seed, weight), ranker_alone(design, part, seed)
    prerank, rank = pre_ranker(design, part), ranker(design, part)

    def objective(batch: Batch, requests: Tensor) -> Tensor:
        own = pointwise(scores_of(prerank, batch), batch, design.weighted)
        return own + of_ranker(rank, batch, design, part)

    fit((prerank, rank), objective, part, design, seed)
    return Neural(prerank), Neural(rank)


def distilled(design: Design, part: Part, seed: int) -> tuple[Scorer, ...]:
    """The ranker first; then the pre-ranker by the ranker's order of all candidates."""
    rank = ranker_alone(design, part, seed)
    scores = rank.score(part)
    tau = design.tau or 1.0
    if design.prerank == "lightgbm":
        return grow(part.log, scores / tau, "regression", design, seed), rank
    teacher = padded(scores, part)

    def objective(batch: Batch, requests: Tensor, prerank: Stage) -> Tensor:
        return listwise(scores_of(prerank, batch), teacher(requests, batch.mask), batch.mask, tau)

    return pre_ranker_by(objective, design, part, seed), rank


def survival(design: Design, part: Part, seed: int) -> tuple[Scorer, ...]:
    """The ranker first; then the pre-ranker by the label times the ranker's soft cut at its width (as FS-LTR).

    The cut is DFTopK's at the ranker's scores, which are first scaled to variance 1 within each request.
    """
    rank = ranker_alone(design, part, seed)
    rows = padded(rank.score(part), part)

    def target(batch: Batch, requests: Tensor) -> Tensor:
        kept, _ = by_soft_cut(
            standard(rows(requests, batch.mask), batch.mask), batch.mask, design.widths[-1], design.tau or 1.0
        )
        return batch.label * kept

    if design.prerank == "lightgbm":
        every = torch.arange(len(part.log), device=part.device).split(design.batch)
        batches = ((part.encoded.batch(some), some) for some in every)
        targets = part.rows((target(batch, some), batch.mask) for batch, some in batches)
        weight = part.log.weight if design.weighted else None
        return grow(part.log, targets, "cross_entropy", design, seed, weight), rank

    def objective(batch: Batch, requests: Tensor, prerank: Stage) -> Tensor:
        return pointwise(scores_of(prerank, batch), batch, design.weighted, target(batch, requests))

    return pre_ranker_by(objective, design, part, seed), rank


def joint(design: Design, part: Part, seed: int) -> tuple[Scorer, ...]:
    """Both stages on one loss of the whole cascade; trees and the ranker are updated in turn."""
    from narrows.codesign import losses

    if design.prerank == "lightgbm":
        from narrows.codesign.boosting import in_turn

        done = in_turn(design, part, ranker(design, part), seed)
        return done.trees, done.rank
    given: dict[str, Any] = {} if design.tau is None else {"tau": design.tau}
    loss = losses.named(design.loss, **given).to(part.device)
    prerank, rank = pre_ranker(design, part), ranker(design, part)
    quotas = design.loss_quotas

    def objective(batch: Batch, requests: Tensor) -> Tensor:
        value: Tensor = loss((scores_of(prerank, batch), scores_of(rank, batch)), batch, quotas)
        return value

    fit((prerank, rank, loss), objective, part, design, seed)
    return Neural(prerank), Neural(rank)


def single(design: Design, part: Part, seed: int) -> tuple[Scorer, ...]:
    """The ranker alone, by the label of all candidates: all of them are given to it."""
    rank = ranker(design, part)
    fit((rank,), lambda batch, _: pointwise(scores_of(rank, batch), batch, design.weighted), part, design, seed)
    return (Neural(rank),)


SCHEMES: dict[str, Callable[[Design, Part, int], tuple[Scorer, ...]]] = {
    "independent": independent, "distilled": distilled, "survival": survival, "joint": joint, "single": single,
}  # fmt: skip


def pre_ranker(design: Design, part: Part) -> Stage:
    """With random weights."""
    return stage_model(design.prerank, part.inputs, False, design.embedding_size, design.hidden).to(part.device)


def ranker(design: Design, part: Part) -> Stage:
    """With random weights."""
    return stage_model(design.rank, part.inputs, True, design.embedding_size, design.rank_hidden).to(part.device)


def ranker_alone(design: Design, part: Part, seed: int) -> Neural:
    """The ranker as `independent` trains it."""
    rank = ranker(design, part)
    fit((rank,), lambda batch, _: of_ranker(rank, batch, design, part), part, design, seed)
    return Neural(rank)


def of_ranker(rank: Stage, batch: Batch, design: Design, part: Part) -> Tensor:
    """The ranker's own loss: over the candidates that the logged ranker was given, or all."""
    if design.exposure == "own":
        batch = batch.narrowed(batch.grade >= len(part.log.stages) - 1)
    return pointwise(scores_of(rank, batch), batch, design.weighted)


def pre_ranker_by(
    objective: Callable[[Batch, Tensor, Stage], Tensor], design: Design, part: Part, seed: int
) -> Neural:  # fmt: skip
    """A pre-ranker that is trained after the ranker."""
    prerank = pre_ranker(design, part)
    fit((prerank,), lambda batch, requests: objective(batch, requests, prerank), part, design, seed)
    return Neural(prerank)


def standard(scores: Tensor, mask: Tensor) -> Tensor:
    """Scores [R, n] scaled to mean 0 and variance 1 over each request's candidates."""
    count = mask.sum(1, keepdim=True).clamp(min=1)
    away = torch.where(mask, scores - torch.where(mask, scores, 0.0).sum(1, keepdim=True) / count, 0.0)
    return away / ((away**2).sum(1, keepdim=True) / count).sqrt().clamp(min=SPREAD)
