"""Prerank's model: LightGBM trees, and narrowing by their scores."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightgbm
import numpy as np
import pyarrow as pa

from features.lookup import CATALOGUE, Array, Catalogue, Pairs, codes
from features.pair import FEATURES, matrix
from features.simple import order
from narrows.candidates import keep_best, top
from narrows.columns import SHADOW_SCORE, USER
from narrows.stage import Narrowed, Shard

if TYPE_CHECKING:
    from stages.prerank import Prerank


TREES = "trees"
SCORE_GAP = 1e-3
"""Between the scores of the candidates that the ensemble scored and those of the others."""


@dataclass(frozen=True)
class StoodBack:
    """What the trees were worth beside the simple orders on the latest complete horizons, and what follows."""

    simple: str = ""
    """The simple order that takes their place, as they were not better; empty = the trees order."""
    worth: dict[str, float] = field(default_factory=dict)
    """By the metric that decided: ``trees``, and the best simple order under its name."""
    judged_by: str = ""
    """That metric: ``hit_rate``, the share of the positives among what the room keeps, or ``ndcg``; empty = nothing was judged."""
    keeps: bool = False
    """Whether the trees still say which candidates are kept, which the simple order then orders."""


@dataclass(frozen=True)
class PrerankModel:
    """LightGBM models: one of few trees and features that scores every candidate, and an ensemble that orders the best."""

    first: lightgbm.Booster
    ensemble: list[lightgbm.Booster]
    stood: StoodBack = StoodBack()

    @property
    def notes(self) -> dict[str, Any]:
        """What is logged of the model."""
        stood = self.stood
        notes = {"order": stood.simple or TREES, **{f"worth_{name}": value for name, value in stood.worth.items()}}
        notes |= {"judged_by": stood.judged_by} if stood.judged_by else {}
        return notes | (
            {"instead_of": TREES, "kept_by": TREES if stood.keeps else stood.simple} if stood.simple else {}
        )

    def first_scores(self, pairs: Pairs) -> Array:
        """The first model's scores, float64 (pairs,)."""
        return _scores(self.first, matrix(pairs, self.first.feature_name()))

    def ensemble_scores(self, pairs: Pairs) -> Array:
        """The mean of the ensemble's scores, float64 (pairs,)."""
        rows = matrix(pairs, self.ensemble[0].feature_name())
        return np.mean([_scores(model, rows) for model in self.ensemble], 0)

    def save(self, folder: Path) -> None:
        """As LightGBM's text."""
        self.first.save_model(str(folder / "first.txt"))
        for k, model in enumerate(self.ensemble):
            model.save_model(str(folder / f"ensemble-{k}.txt"))
        (folder / "prerank.json").write_text(json.dumps(asdict(self.stood)))

    @classmethod
    def load(cls, folder: Path) -> PrerankModel:
        """What `save` wrote."""
        files = sorted(folder.glob("ensemble-*.txt"), key=lambda file: int(file.stem.split("-")[1]))
        ensemble = [lightgbm.Booster(model_file=str(file)) for file in files]
        stood = StoodBack(**json.loads((folder / "prerank.json").read_text()))
        return cls(lightgbm.Booster(model_file=str(folder / "first.txt")), ensemble, stood)


def _scores(booster: lightgbm.Booster, rows: Array) -> Array:
    return np.asarray(booster.predict(rows, raw_score=True, num_threads=1))


def narrow(room: Prerank, model: PrerankModel, shard: Shard) -> Narrowed:
    """Score every candidate and keep the n best of each user.

    A thread per core, each with some of the users: features are NumPy's single-threaded work.
    """
    candidates, users = shard.candidates, shard.users
    if candidates is None:
        raise ValueError("prerank narrows candidates; recall makes them first.")
    threads, catalogue = threads_of(room), shard.once(CATALOGUE, Catalogue)
    bounds = np.linspace(0, users.num_rows, threads + 1).astype(int)  # the users of each part
    rows = np.searchsorted(codes(candidates[USER], users[USER].combine_chunks()), bounds)
    rows[0], rows[-1] = 0, candidates.num_rows  # also a row of an unknown user is in a part, which refuses it

    def part(k: int) -> Narrowed:
        own = candidates.slice(rows[k], rows[k + 1] - rows[k])
        pairs = Pairs(users.slice(bounds[k], bounds[k + 1] - bounds[k]), shard.items, own, catalogue)
        score = _score(room, model, pairs)
        if shard.logged:  # else trees that stood back once could never show that they are better now
            shadow = _trees(room, model, pairs) if model.stood.simple else score
            own = own.append_column(SHADOW_SCORE, pa.array(shadow, pa.float32()))
        return keep_best("prerank", own, pairs.user, score, score, room.n, shard.logged)

    with ThreadPoolExecutor(threads) as pool:
        parts = list(pool.map(part, range(threads)))
    return Narrowed(pa.concat_tables([one.kept for one in parts]), pa.concat_tables([one.removed for one in parts]))


def _score(room: Prerank, model: PrerankModel, pairs: Pairs) -> Array:
    """The trees' scores, or where they stood back the simple order: of all, or of what the trees keep. float32 (pairs,)."""
    if not model.stood.simple:
        return _trees(room, model, pairs)
    plain = order(model.stood.simple, lambda name: FEATURES[name](pairs)).astype(np.float32)
    if not model.stood.keeps:
        return plain
    # the ensemble orders the best alone, so where it orders no more than are kept it does not change who is
    score = model.first_scores(pairs) if room.first_n <= room.n else _trees(room, model, pairs)
    best = np.flatnonzero(top(pairs.user, -score, room.n))
    return _joined(pairs.user, score, best, plain[best])


def _trees(room: Prerank, model: PrerankModel, pairs: Pairs) -> Array:
    """The first model for all pairs, the ensemble for a user's best by it: an early exit (Cambazoglu et al. 2010)."""
    first = model.first_scores(pairs)
    best = np.flatnonzero(top(pairs.user, -first, room.first_n))
    return _joined(pairs.user, first, best, model.ensemble_scores(pairs.take(best)))


def _joined(user: Array, first: Array, best: Array, ensemble: Array) -> Array:
    """One score for all: the ensemble's for the best rows; the first model's, shifted user by user, to rank below them.

    Args:
        user: int (rows,), ascending.
        first: the first model's scores (rows,).
        best: the rows that the ensemble scored (best,).
        ensemble: its scores of them (best,).

    Returns:
        float32 (rows,).
    """
    starts = np.flatnonzero(np.diff(user[best], prepend=-1))
    shift = np.minimum.reduceat(ensemble, starts) - np.minimum.reduceat(first[best], starts) - SCORE_GAP
    score = first + shift[np.cumsum(np.diff(user, prepend=-1) > 0) - 1]
    score[best] = ensemble
    return score.astype(np.float32)


def threads_of(room: Prerank) -> int:
    """The threads that the room may use."""
    return room.threads or len(os.sched_getaffinity(0))
