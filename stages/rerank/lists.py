"""From a shard to its lists: candidates in, the kept list and every removed candidate with its reason out."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from narrows.columns import PROPENSITY, RANK, REASON, SCORE
from narrows.stage import Narrowed, Shard
from stages.rerank import explore, matrices, pins, reasons
from stages.rerank.compose import ListRules, compose, places
from stages.rerank.policy import Policy

LOG = logging.getLogger(__name__)


def narrow(
    shard: Shard, policy: Policy, rules: ListRules, weights: dict[str, float], scene: str, seed: int
) -> Narrowed:
    """Compose the list of every user of ``shard``; ``Rerank`` names the columns.

    Args:
        shard: with candidates that carry rank_score and rank_rank.
        policy: the rules.
        rules: n, trade, epsilon, pool, temperature and position; the policy fills in the rest.
        weights: what each column of the item table counts in the similarity of two items; any scale.
        scene: whose pins hold.
        seed: of the exploration draws.
    """
    assert shard.candidates is not None
    received = shard.candidates.num_rows
    for line in matrices.unknown_names(policy, shard.items):
        LOG.warning("policy: %s", line)
    chosen = pins.choose(policy, shard, rules.n, scene)
    shard = shard if chosen is None else pins.propose(shard, chosen)
    matrix = matrices.build(shard, received)
    at, present = matrix.item, (matrix.row >= 0) & ~matrix.added
    allowed = (matrix.row >= 0) & ~matrices.blocked(policy, shard.items, at)
    factor = matrices.boosts(policy, shard.items, at)
    relevance = matrix.score * factor
    total = sum(weights.values())
    kinds = tuple((w / total, matrices.item_codes(shard.items, name, at)[0]) for name, w in weights.items() if w)
    categories, names = matrices.item_codes(shard.items, "category", at)
    by_policy = replace(
        rules,
        categories=categories,
        caps=matrices.caps(policy, shard.items, at),
        pins=None if chosen is None else pins.columns(chosen, shard, matrix),
        minimum=policy.minimum,
    )
    chance = explore.uniform(matrix.users, seed, str(shard.asof))
    full = replace(by_policy, kinds=kinds)
    lists = compose(relevance, allowed, full, chance)
    single_steps = {
        "rank_after_diversity": compose(matrix.score, present, replace(rules, kinds=kinds, epsilon=0.0), chance),
        "rank_after_policy": compose(relevance, allowed, replace(by_policy, trade=1.0, epsilon=0.0), chance),
        "rank_after_exploration": compose(matrix.score, present, replace(rules, trade=1.0), chance),
    }
    pinned = np.zeros(at.shape, bool) if full.pins is None else places(full.pins, at.shape[1]) > 0
    columns: dict[str, NDArray] = {name: each.place for name, each in single_steps.items()}
    columns |= {RANK: lists.place, "rerank_score": relevance, PROPENSITY: lists.propensity}
    candidates = shard.candidates
    assert candidates is not None

    def table(at: tuple[NDArray[np.intp], ...]) -> pa.Table:
        rows = candidates.take(pa.array(matrix.row[at]))
        values = {name: pa.array(column[at]) for name, column in columns.items()}
        for name in (RANK, *single_steps):
            values[name] = pc.if_else(pc.greater(values[name], 0), values[name], pa.scalar(None, pa.int32()))
        values[SCORE] = pa.array(matrix.score[at])
        for name in (RANK, SCORE, PROPENSITY, "rerank_score", *single_steps):
            rows = rows.append_column(name, values[name])
        return rows

    listed = lists.place > 0
    which, column = np.nonzero(listed)
    order = np.lexsort((lists.place[which, column], which))
    inside, outside = (which[order], column[order]), np.nonzero(present & ~listed)
    shown = table(inside)
    code = reasons.kept(lists, factor, allowed, pinned, rules.n)[inside]
    why = pc.if_else(pa.array(code < len(reasons.KEPT)), texts(reasons.KEPT, code), reasons.channels(shown))
    shown, new = shown.append_column(REASON, why), matrix.added[inside]
    code = reasons.removed(lists, relevance, allowed, pinned, matrix.added, full)[outside]
    capped = code == reasons.REMOVED.index("policy:cap")
    code = np.where(capped, len(reasons.REMOVED) + categories[outside], code)
    why_not = texts((*reasons.REMOVED, *(f"policy:cap:{name}" for name in names)), code)
    removed = table(outside).append_column(REASON, why_not) if shard.logged else pa.table({REASON: why_not})
    if not new.any():
        return Narrowed(shown, removed)
    return Narrowed(shown.filter(pa.array(~new)), removed, shown.filter(pa.array(new)))


def texts(words: Sequence[str], code: NDArray[np.integer]) -> pa.Array:
    """``words[code]`` as strings; a code beyond them gives the last."""
    return pa.array(words, pa.string()).take(pa.array(np.minimum(code, len(words) - 1)))
