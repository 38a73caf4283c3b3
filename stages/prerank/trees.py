"""Prerank's trees: LightGBM over the pair features."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightgbm
import numpy as np
import pyarrow as pa

from features.lookup import Array, Pairs, codes, column
from features.pair import FEATURES, matrix
from narrows.candidates import top
from narrows.columns import ASOF, LABEL, REASON, USER, WEIGHT, stage_rank, stage_score
from narrows.stage import Narrowed, Shard

if TYPE_CHECKING:
    from stages.prerank import Prerank


TRUNCATION = 40
"""Lambdarank: pairs count of which one stands among so many best."""
LEAST_TREES = 10
"""Of a kind in a member, however few the good examples are."""
GAP = 1e-3
"""Of scores, between the best and the others."""


@dataclass(frozen=True)
class PrerankModel:
    """LightGBM models: one of few trees and features that scores every candidate, and members that order the best."""

    first: lightgbm.Booster
    members: list[lightgbm.Booster]

    def choose(self, pairs: Pairs) -> Array:
        """The first model's scores, float64 (pairs,)."""
        return _scores(self.first, matrix(pairs, self.first.feature_name()))

    def order(self, pairs: Pairs) -> Array:
        """The mean of the members' scores, float64 (pairs,)."""
        rows = matrix(pairs, self.members[0].feature_name())
        return np.mean([_scores(member, rows) for member in self.members], 0)

    def save(self, folder: Path) -> None:
        """As LightGBM's text."""
        self.first.save_model(str(folder / "first.txt"))
        for k, member in enumerate(self.members):
            member.save_model(str(folder / f"member-{k}.txt"))

    @classmethod
    def load(cls, folder: Path) -> PrerankModel:
        """What `save` wrote."""
        files = sorted(folder.glob("member-*.txt"), key=lambda file: int(file.stem.split("-")[1]))
        members = [lightgbm.Booster(model_file=str(file)) for file in files]
        return cls(lightgbm.Booster(model_file=str(folder / "first.txt")), members)


def _scores(booster: lightgbm.Booster, rows: Array) -> Array:
    return np.asarray(booster.predict(rows, raw_score=True, num_threads=1))


def fit(room: Prerank, examples: pa.Table) -> PrerankModel:
    """Members boosted from the probability to the order, and a first model of the features that they use most; a list
    is an (as-of, user), those without a good item are left out.

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
    data = lightgbm.Dataset(
        rows, label[order], group=sizes[sizes > 0], feature_name=names, free_raw_data=False, params=_options(room)
    )
    most = max(LEAST_TREES, int(label[order].sum()) // room.good_per_tree)
    chance, ordering = min(room.chance_trees, most), min(room.order_trees, most)
    seeds = range(room.seed, room.seed + room.members)
    # all chances first: once trees go on from a model, the data keep its scores as the start of whatever comes next
    chances = [lightgbm.train(_options(room) | _chance(room, seed), data, chance) for seed in seeds]
    members = [_ordered(room, data, trees, ordering, seed) for trees, seed in zip(chances, seeds, strict=True)]
    gain = sum(member.feature_importance("gain", iteration=chance) for member in members)
    best = np.sort(np.argsort(-gain, kind="stable")[: room.first_features])
    options = _options(room) | _chance(room, room.seed)
    options |= {"learning_rate": room.first_learning_rate, "feature_fraction": 1.0}
    data = lightgbm.Dataset(rows[:, best], label[order], feature_name=[names[k] for k in best], params=options)
    return PrerankModel(lightgbm.train(options, data, room.first_trees), members)


def _options(room: Prerank) -> dict[str, Any]:
    return {
        "learning_rate": room.learning_rate,
        "min_data_in_leaf": room.min_rows,
        "feature_fraction": room.feature_share,
        "bagging_fraction": room.row_share,
        "bagging_freq": 1,
        "lambda_l2": room.l2,
        "max_bin": 127,
        "num_threads": _threads(room),
        "deterministic": True,
        "force_col_wise": True,
        "verbosity": -1,
    }


def _chance(room: Prerank, seed: int) -> dict[str, Any]:
    return {"objective": "binary", "num_leaves": room.chance_leaves, "seed": seed}


def _ordered(room: Prerank, data: lightgbm.Dataset, trees: lightgbm.Booster, count: int, seed: int) -> lightgbm.Booster:
    """On top of trees that learnt the probability, trees that learn the order."""
    options = _options(room) | {"objective": "lambdarank", "num_leaves": room.order_leaves, "seed": seed}
    options |= {"lambdarank_truncation_level": TRUNCATION}
    return lightgbm.train(options, data, count, init_model=trees) if count else trees


def narrow(room: Prerank, model: PrerankModel, shard: Shard) -> Narrowed:
    """Scores every candidate and keeps the n best of each user.

    A thread per core, each with some of the users: features are NumPy's single-threaded work.
    """
    candidates = shard.candidates
    if candidates is None:
        raise ValueError("prerank narrows candidates; recall makes them first.")
    threads, users = _threads(room), shard.users
    first = np.linspace(0, users.num_rows, threads + 1).astype(int)  # user of each part
    rows = np.searchsorted(codes(candidates[USER], users[USER].combine_chunks()), first)
    rows[0], rows[-1] = 0, candidates.num_rows  # also a row of an unknown user is in a part, which refuses it

    def part(k: int) -> Narrowed:
        own = candidates.slice(rows[k], rows[k + 1] - rows[k])
        pairs = Pairs(users.slice(first[k], first[k + 1] - first[k]), shard.items, own)
        return _cut(pairs, _score(room, model, pairs), room.n)

    with ThreadPoolExecutor(threads) as pool:
        parts = list(pool.map(part, range(threads)))
    return Narrowed(pa.concat_tables([one.kept for one in parts]), pa.concat_tables([one.removed for one in parts]))


def _score(room: Prerank, model: PrerankModel, pairs: Pairs) -> Array:
    """The first model for all pairs, the members for a user's best by it: an early exit (Cambazoglu et al. 2010)."""
    first = model.choose(pairs)
    best = np.flatnonzero(top(pairs.user, -first, room.first_n))
    return _behind(pairs.user, first, best, model.order(pairs.take(best)))


def _cut(pairs: Pairs, score: Array, n: int) -> Narrowed:
    """Score and rank added, best first, and the n best of each user kept."""
    order = np.lexsort((np.arange(len(score)), -score, pairs.user))
    rank = (np.arange(len(order)) - pairs.bounds[pairs.user] + 1).astype(np.int32)
    kept = rank <= n

    def part(which: Array) -> pa.Table:
        rows = pairs.candidates.take(pa.array(order[which]))
        rows = rows.append_column(stage_score("prerank"), pa.array(score[order[which]], pa.float32()))
        return rows.append_column(stage_rank("prerank"), pa.array(rank[which]))

    removed = part(~kept)
    return Narrowed(part(kept), removed.append_column(REASON, pa.repeat("prerank_cut", removed.num_rows)))


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
