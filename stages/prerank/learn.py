"""Fitting prerank's trees: LightGBM over the pair features, first pointwise, then lambdarank."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import lightgbm
import numpy as np
import pyarrow as pa

from features import simple
from features.lookup import Array, codes, column, stacked, varying
from features.pair import FEATURES
from narrows.columns import ASOF, LABEL, LABEL_WEIGHT, SHADOW_SCORE, USER, WEIGHT, stage_score
from narrows.metrics import hit_rate, ndcg, z_score
from stages.prerank.trees import TREES, PrerankModel, StoodBack, threads_of

if TYPE_CHECKING:
    from stages.prerank import Prerank

TRUNCATION_LEVEL = 40
"""Lambdarank: pairs count of which one item stands among so many best (Burges 2010)."""
HIT_RATE, NDCG = "hit_rate", "ndcg"
TOLD_APART = 2.0
"""Standard errors that two hit rates must be apart to count."""
MIN_TREES = 10
"""Of a kind in a model, however few the positive examples are."""


def fit(room: Prerank, examples: pa.Table) -> PrerankModel:
    """Fit the ensemble, boosted from the probability to the order, and a first model of the features that it uses most.

    A list is an (as-of, user); lists without a positive are left out. A uniform sample of negatives leaves the order
    alone, one that prefers some does not (measured: it costs 2% of the recall), so negatives that were sampled more
    densely are thinned to the sampling share of the others. Features that have one value in all rows are left out.

    Args:
        room: the settings.
        examples: one column for each pair feature, label, weight, label_weight, asof and user_id.

    Raises:
        ValueError: the examples have no positive.
    """
    label, names = column(examples, LABEL), list(FEATURES)
    rows, sizes = rows_to_learn(examples, room.seed)
    if not len(rows):
        raise ValueError("examples: no row has label 1, so there is nothing to learn; give earlier or longer windows.")
    features = stacked(examples, names, rows)
    if len(varies := varying(features)) < len(names):
        names, features = [names[k] for k in varies], features[:, varies]
    worth = column(examples, LABEL_WEIGHT)[rows]
    weight = worth if (worth != 1).any() else None
    data = lightgbm.Dataset(
        features, label[rows], weight=weight, group=sizes, feature_name=names, free_raw_data=False,
        params=_options(room),
    )  # fmt: skip
    most = max(MIN_TREES, int(label[rows].sum()) // room.positives_per_tree)
    pointwise, lambdarank = min(room.pointwise_trees, most), min(room.lambdarank_trees, most)
    seeds = range(room.seed, room.seed + room.ensemble_size)
    # all pointwise trees first: once trees go on from a model, the data keep its scores as the start of whatever comes next
    starts = [lightgbm.train(_options(room) | _pointwise(room, seed), data, pointwise) for seed in seeds]
    ensemble = [_ordered(room, data, start, lambdarank, seed) for start, seed in zip(starts, seeds, strict=True)]
    gain = sum(model.feature_importance("gain", iteration=pointwise) for model in ensemble)
    best = np.sort(np.argsort(-gain, kind="stable")[: room.first_features])
    options = _options(room) | _pointwise(room, room.seed)
    options |= {"learning_rate": room.first_learning_rate, "feature_fraction": 1.0}
    names = [names[k] for k in best]
    data = lightgbm.Dataset(features[:, best], label[rows], weight=weight, feature_name=names, params=options)
    first = lightgbm.train(options, data, room.first_trees)
    return PrerankModel(first, ensemble, against_simple(room, examples))


def against_simple(room: Prerank, examples: pa.Table) -> StoodBack:
    """Whether trees are better than any order that needs no model: do no harm.

    Judged are the examples that carry a score: those of the latest complete horizons, which trees scored that knew nothing of
    their labels. What a room must be good at are two things. By the hit rate, the share of a list's positives among the ``n`` that are
    kept: of the metrics that a log can give it was best at telling which pre-ranker makes the better cascade (docs/experiments.md). And
    by NDCG@20, the order in which they are handed on. Trees that keep fewer stand back for the simple order in both. Trees that
    do not order better by more than chance hand the order to it, and say what is kept alone, if they keep more.
    """
    name = SHADOW_SCORE if SHADOW_SCORE in examples.column_names else stage_score("prerank")
    if not room.stand_back or name not in examples.column_names:
        return StoodBack()
    judged = simple.windows(examples, name, partial(hit_rate, n=room.n))
    if not judged:
        return StoodBack()
    kept, ordered = simple.held(judged, name), simple.held(simple.windows(examples, name, ndcg), name)
    keeps, orders = z_score(*kept.gains), z_score(*ordered.gains)
    found, metric = (kept, HIT_RATE) if abs(keeps) > TOLD_APART else (ordered, NDCG)
    if keeps >= -TOLD_APART and orders > simple.BETTER:
        return StoodBack("", {TREES: found.own, found.order: found.simple}, metric)
    if keeps > TOLD_APART:
        return StoodBack(ordered.order, {TREES: ordered.own, ordered.order: ordered.simple}, NDCG, keeps=True)
    return StoodBack(found.order, {TREES: found.own, found.order: found.simple}, metric)


def rows_to_learn(examples: pa.Table, seed: int) -> tuple[Array, Array]:
    """Which examples are learned from: of lists with a positive, and thinned where negatives were sampled densely.

    Returns:
        The rows, list by list, int64; and the size of each list, int64.
    """
    label, weight = column(examples, LABEL), column(examples, WEIGHT)
    if not len(label):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    query = _queries(examples)
    has_positive = np.bincount(query, label) > 0
    share = np.where(label > 0, 1, weight / weight[label == 0].max(initial=1e-9))
    chosen = has_positive[query] & (np.random.default_rng(seed).random(len(label)) < share)
    order = np.argsort(query, kind="stable")
    order = order[chosen[order]]
    sizes = np.bincount(query[order])
    return order, sizes[sizes > 0]


def _options(room: Prerank) -> dict[str, Any]:
    return {
        "learning_rate": room.learning_rate,
        "min_data_in_leaf": room.min_rows,
        "feature_fraction": room.feature_share,
        "bagging_fraction": room.row_share,
        "bagging_freq": 1,
        "lambda_l2": room.l2,
        "max_bin": 127,
        "num_threads": threads_of(room),
        "deterministic": True,
        "force_col_wise": True,
        "verbosity": -1,
    }


def _pointwise(room: Prerank, seed: int) -> dict[str, Any]:
    return {"objective": "binary", "num_leaves": room.pointwise_leaves, "seed": seed}


def _ordered(room: Prerank, data: lightgbm.Dataset, start: lightgbm.Booster, count: int, seed: int) -> lightgbm.Booster:
    """On top of trees that learnt the probability, trees that learn the order."""
    options = _options(room) | {"objective": "lambdarank", "num_leaves": room.lambdarank_leaves, "seed": seed}
    options |= {"lambdarank_truncation_level": TRUNCATION_LEVEL}
    return lightgbm.train(options, data, count, init_model=start)


def _queries(examples: pa.Table) -> Array:
    """The number of each row's list, an (as-of, user): int64 (rows,)."""
    asofs, users = (examples[name].combine_chunks() for name in (ASOF, USER))
    query = codes(asofs, asofs.unique()).astype(np.int64) * (len(users.unique()) + 1) + codes(users, users.unique())
    return np.unique(query, return_inverse=True)[1]
