"""Prerank's trees: LightGBM over the pair features."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightgbm
import numpy as np
import pyarrow as pa

from features.lookup import Array, Pairs, codes, column
from features.pair import FEATURES, matrix
from stages.columns import ASOF, LABEL, REASON, USER, WEIGHT, stage_rank, stage_score
from stages.flow import top
from stages.stage import Narrowed, Shard

if TYPE_CHECKING:
    from stages.prerank import Prerank


TRUNCATION = 40
"""Lambdarank: pairs count of which one stands among so many best."""
GAP = 1e-3
"""Of scores, between the best and the others."""


@dataclass(frozen=True)
class PrerankModel:
    """A LightGBM model: trees that learnt the probability, and on top of them trees that learnt the order."""

    booster: lightgbm.Booster

    @property
    def names(self) -> list[str]:
        """The features that it reads."""
        return self.booster.feature_name()

    def first(self, rows: Array, trees: int) -> Array:
        """Scores by the first trees, float64 (rows,)."""
        return np.asarray(self.booster.predict(rows, raw_score=True, num_iteration=trees, num_threads=1))

    def rest(self, rows: Array, trees: int) -> Array:
        """What the trees after the first add to that, float64 (rows,)."""
        return np.asarray(
            self.booster.predict(rows, raw_score=True, start_iteration=trees, num_iteration=-1, num_threads=1)
        )

    def save(self, folder: Path) -> None:
        """As LightGBM's text."""
        self.booster.save_model(str(folder / "prerank.txt"))

    @classmethod
    def load(cls, folder: Path) -> PrerankModel:
        """What `save` wrote."""
        return cls(lightgbm.Booster(model_file=str(folder / "prerank.txt")))


def fit(room: Prerank, examples: pa.Table) -> PrerankModel:
    """Boosting from the probability to the order; a list is an (as-of, user), those without a good item are left out.

    A uniform sample of negatives leaves the order alone, one that prefers some does not: measured, it costs 2% of
    the recall. So negatives that were sampled more densely are thinned to the share of the others.

    Raises:
        ValueError: the examples have no good item.
    """
    label, weight = column(examples, LABEL), column(examples, WEIGHT)
    names = list(FEATURES)
    query, order = _queries(examples)
    good = np.bincount(query, label) > 0 if len(query) else np.zeros(0, bool)
    share = np.where(label > 0, 1, weight / weight[label == 0].max(initial=1e-9))
    keep = np.random.default_rng(room.seed).random(len(label)) < share
    order = order[(good[query] & keep)[order]] if len(order) else order
    if not len(order):
        raise ValueError("examples: no row has label 1, so there is nothing to learn; give earlier or longer windows.")
    rows = np.stack([column(examples, name)[order] for name in names], 1)
    sizes = np.bincount(query[order])
    options: dict[str, Any] = {
        "learning_rate": room.learning_rate,
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
    data = lightgbm.Dataset(rows, label[order], group=sizes[sizes > 0], feature_name=names, free_raw_data=False)
    options |= {"objective": "binary", "num_leaves": room.chance_leaves}
    trees = lightgbm.train(options, data, room.chance_trees)
    if room.order_trees:
        options |= {
            "objective": "lambdarank",
            "lambdarank_truncation_level": TRUNCATION,
            "num_leaves": room.order_leaves,
        }
        trees = lightgbm.train(options, data, room.order_trees, init_model=trees)
    return PrerankModel(trees)


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
    """Few trees for all candidates, all trees for a user's best by these: an early exit (Cambazoglu et al. 2010).

    A thread per core, each with some of the users: features are NumPy's single-threaded work.

    Step by step, as LightGBM keeps in the model which trees a prediction asks for: threads must not ask for different ones.
    """
    threads = _threads(room)
    names = model.names
    edges = Pairs(shard.users, shard.items, candidates).bounds
    edges = np.unique(edges[np.linspace(0, shard.users.num_rows, threads + 1).astype(int)])
    parts = [
        Pairs(shard.users, shard.items, candidates.slice(start, stop - start))
        for start, stop in pairwise(edges.tolist())
    ]
    with ThreadPoolExecutor(threads) as pool:
        rows = list(pool.map(lambda part: matrix(part, names), parts))
        first = list(pool.map(lambda x: model.first(x, room.first_trees), rows))
        best = [np.flatnonzero(top(part.user, -score, room.first_n)) for part, score in zip(parts, first, strict=True)]
        rest = list(pool.map(lambda x, mine: model.rest(x[mine], room.first_trees), rows, best))
    scores = [
        _behind(part.user, score, mine, score[mine] + more)
        for part, score, mine, more in zip(parts, first, best, rest, strict=True)
    ]
    return np.concatenate([np.empty(0, np.float32), *scores])


def _behind(user: Array, score: Array, best: Array, better: Array) -> Array:
    """The better scores of the best rows; the others' shifted, user by user, to stand behind them. float32 (rows,)."""
    starts = np.flatnonzero(np.diff(user[best], prepend=-1))
    shift = np.minimum.reduceat(better, starts) - np.minimum.reduceat(score[best], starts) - GAP
    made = score + shift[np.cumsum(np.diff(user, prepend=-1) > 0) - 1]
    made[best] = better
    return made.astype(np.float32)


def _queries(examples: pa.Table) -> tuple[Array, Array]:
    """Number of each row's (as-of, user), and the rows in its order."""
    asofs, users = (examples[name].combine_chunks() for name in (ASOF, USER))
    query = codes(asofs, asofs.unique()).astype(np.int64) * (len(users.unique()) + 1) + codes(users, users.unique())
    query = np.unique(query, return_inverse=True)[1]
    return query, np.argsort(query, kind="stable")


def _threads(room: Prerank) -> int:
    return room.threads or len(os.sched_getaffinity(0))
