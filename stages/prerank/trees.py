"""Prerank's trees: LightGBM over the pair features."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import lightgbm
import numpy as np
import pyarrow as pa

from features.lookup import Array, Pairs, codes, column
from features.pair import FEATURES, matrix
from stages.columns import ASOF, LABEL, REASON, USER, WEIGHT, stage_rank, stage_score
from stages.stage import Narrowed, Shard

if TYPE_CHECKING:
    from stages.prerank import Prerank


@dataclass(frozen=True)
class PrerankModel:
    """A LightGBM model and the names of the features that it reads."""

    booster: lightgbm.Booster

    def save(self, folder: Path) -> None:
        """As LightGBM's text."""
        self.booster.save_model(str(folder / "prerank.txt"))

    @classmethod
    def load(cls, folder: Path) -> PrerankModel:
        """What `save` wrote."""
        return cls(lightgbm.Booster(model_file=str(folder / "prerank.txt")))


def fit(room: Prerank, examples: pa.Table) -> PrerankModel:
    """One query per (as-of, user); those without a good item say nothing of order and are left out.

    A uniform sample of negatives leaves the order alone, one that prefers some does not: measured, it costs 2% of
    the recall. So negatives that were sampled more densely are thinned to the share of the others.

    Raises:
        ValueError: the examples have no good item.
    """
    label, weight = column(examples, LABEL), column(examples, WEIGHT)
    names = list(FEATURES)
    query, order = _queries(examples)
    good = np.bincount(query, label) > 0 if len(query) else np.zeros(0, bool)
    chance = np.where(label > 0, 1, weight / weight[label == 0].max(initial=1e-9))
    keep = np.random.default_rng(room.seed).random(len(label)) < chance
    order = order[(good[query] & keep)[order]] if len(order) else order
    if not len(order):
        raise ValueError("examples: no row has label 1, so there is nothing to learn; give earlier or longer windows.")
    rows = np.stack([column(examples, name)[order] for name in names], 1)
    options = {
        "objective": room.objective,
        "learning_rate": room.learning_rate,
        "num_leaves": room.leaves,
        "min_data_in_leaf": room.min_rows,
        "feature_fraction": room.feature_share,
        "bagging_fraction": room.row_share,
        "bagging_freq": 1,
        "lambda_l2": room.l2,
        "max_bin": 127,
        "num_threads": _threads(room),
        "seed": room.seed,
        "deterministic": True,
        "force_col_wise": True,
        "verbosity": -1,
    }
    if room.objective == "binary":
        even = np.where(label > 0, 1, weight / np.minimum(chance, 1))[order]
        data = lightgbm.Dataset(rows, label[order], weight=even, feature_name=names)
    else:
        sizes = np.bincount(query[order])
        data = lightgbm.Dataset(rows, label[order], group=sizes[sizes > 0], feature_name=names)
    return PrerankModel(lightgbm.train(options, data, room.trees))


def narrow(room: Prerank, model: PrerankModel, shard: Shard) -> Narrowed:
    """Scores every candidate and keeps the n best of each user."""
    if shard.candidates is None:
        raise ValueError("prerank narrows candidates; recall makes them first.")
    score = _score(room, model, shard, shard.candidates)
    return cut(shard, shard.candidates, score, "prerank", room.n)


def cut(shard: Shard, candidates: pa.Table, score: Array, stage: str, n: int) -> Narrowed:
    """`<stage>_score` and `<stage>_rank` added, best first, and the n best of each user kept."""
    user = codes(candidates[USER], shard.user_ids)
    order = np.lexsort((np.arange(len(score)), -score, user))
    starts = np.searchsorted(user, np.arange(len(shard.user_ids)))
    rank = (np.arange(len(order)) - starts[user[order]] + 1).astype(np.int32)
    kept = rank <= n

    def part(which: Array) -> pa.Table:
        rows = candidates.take(pa.array(order[which]))
        rows = rows.append_column(stage_score(stage), pa.array(score[order[which]], pa.float32()))
        return rows.append_column(stage_rank(stage), pa.array(rank[which]))

    removed = part(~kept)
    return Narrowed(part(kept), removed.append_column(REASON, pa.repeat(f"{stage}_cut", removed.num_rows)))


def _score(room: Prerank, model: PrerankModel, shard: Shard, candidates: pa.Table) -> Array:
    """A thread per core, each with some of the users: features are NumPy's single-threaded work."""
    threads = _threads(room)
    names = model.booster.feature_name()
    pairs = Pairs(shard.users, shard.items, candidates)
    edges = pairs.bounds[np.linspace(0, shard.users.num_rows, threads + 1).astype(int)]

    def part(start: int, stop: int) -> Array:
        if start == stop:
            return np.empty(0, np.float32)
        own = Pairs(shard.users, shard.items, candidates.slice(start, stop - start))
        return np.asarray(model.booster.predict(matrix(own, names), num_threads=1), np.float32)

    with ThreadPoolExecutor(threads) as pool:
        return np.concatenate(list(pool.map(part, edges[:-1], edges[1:])))


def _queries(examples: pa.Table) -> tuple[Array, Array]:
    """Number of each row's (as-of, user), and the rows in its order."""
    asofs, users = (examples[name].combine_chunks() for name in (ASOF, USER))
    query = codes(asofs, asofs.unique()).astype(np.int64) * (len(users.unique()) + 1) + codes(users, users.unique())
    query = np.unique(query, return_inverse=True)[1]
    return query, np.argsort(query, kind="stable")


def _threads(room: Prerank) -> int:
    return room.threads or len(os.sched_getaffinity(0))
