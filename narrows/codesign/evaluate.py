"""What a cascade keeps of what is wanted: by the labels, and in a generated world by the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from narrows.bootstrap import intervals
from narrows.codesign.log import Array, FlowLog
from narrows.metrics import discount, normalized

WEIGHT = "request_weight"
"""What a request counts, beside its metrics."""
CHANNELS = "channels"
"""The name of the quotas of channels where they lose something: in ``survival_channels`` and ``regret_channels``."""


@dataclass(frozen=True)
class Evaluation:
    """A cascade on some requests."""

    metrics: dict[str, float]
    """See `evaluate`."""
    by_request: dict[str, Array]
    """float64 [requests]: joint_recall and ndcg (NaN where nothing is labelled), value and oracle in a world; where requests
    have weights, `WEIGHT`."""
    user: Array
    """int64 [requests]"""


def evaluate(
    log: FlowLog, names: Sequence[str], scores: Sequence[Array], widths: Sequence[int], seed: int = 0,
    offered: Array | None = None,
) -> Evaluation:  # fmt: skip
    """Let a cascade narrow the candidates of every request, and judge what it keeps and how it orders it.

    Ties are broken at random. A metric is the mean over requests by their weights, for recall and NDCG over those with a
    label:

    - ``joint_recall``: share of the labelled candidates that are in the final list (Joint Recall@m@k of ARF and LCRON);
    - ``ndcg``: of the final list, binary gain;
    - ``recall_<stage>``: share of the labelled candidates that the stage alone would keep of all candidates;
    - ``survival_<stage>``: share of the labelled candidates that came to the stage which it keeps, of all requests
      together; their product is the joint recall of all requests together;
    - ``auc_<stage>``: the probability that a labelled candidate scores above another of the request;
    - ``overlap_<stage>``: of the candidates that nobody was shown, cut to the stage's share, the part that the stage and
      the next one have in common (next-stage overlap);
    - with ``offered``, ``survival_channels``: share of the labelled candidates that is offered to the first stage. What is
      not offered is lost to every recall; the metrics of single stages but ``recall_`` are over what is offered.

    With a truth, over the positions that a user examines:

    - ``value``: the expected positives of the final list;
    - ``oracle``, ``oracle_share``: of the best list of the candidates, and ``value`` as a share of it;
    - ``catalogue_oracle``, ``regret_candidates``: of the best list of the catalogue, and what the candidates lack to it;
    - ``regret_<stage>``: what is lost where the stage chooses and the best list is made of what it keeps, to the same
      with the stage before. The last stage's is that of its order. With ``regret_channels``, of what is not offered, they
      sum to ``oracle - value``.

    Args:
        log: the requests.
        names: of the stages.
        scores: for each stage float [rows], larger is better.
        widths: how many each stage keeps, not growing.
        seed: of the ties.
        offered: bool [rows]: the candidates that come to the first stage; None = all.

    Raises:
        ValueError: a score is not a number, or a width is below 1 or above the one before.
    """
    if any(not np.isfinite(score).all() for score in scores):
        raise ValueError("a score is not a number: the training has diverged; lower learning_rate")
    if min(widths) < 1 or list(widths) != sorted(widths, reverse=True):
        raise ValueError(f"widths are {tuple(widths)}: a stage keeps at least 1, and no more than the one before")
    sizes = log.sizes
    there = np.arange(sizes.max(initial=0)) < sizes[:, None]

    def padded(rows: Array, missing: float = 0) -> Array:
        matrix = np.full(there.shape, missing, np.float64)
        matrix[there] = rows
        return matrix

    random = np.random.default_rng(seed).random(there.shape)
    matrices = [padded(score, -np.inf) for score in scores]
    label = padded(log.label) > 0
    here = there if offered is None else padded(offered) > 0
    weight = np.ones(len(log)) if log.request_weight is None else log.request_weight
    alive, kept = here, []
    for matrix, width in zip(matrices, widths, strict=True):
        alive = alive & (_places(np.where(alive, matrix, -np.inf), random) <= width)
        kept.append(alive)
    place = np.where(alive, _places(np.where(alive, matrices[-1], -np.inf), random), 0)
    wanted = label.sum(1)
    judged = wanted > 0
    by_request = {
        "joint_recall": _share((alive & label).sum(1), wanted),
        "ndcg": np.where(judged, normalized(_dcg(place, label), np.maximum(wanted, 1), widths[-1]), np.nan),
    }
    metrics = {"requests": float(len(log)), "labelled": float(judged.sum())}

    def survival(now: Array, before: Array) -> float:
        return float(_share(weight @ (now & label).sum(1), weight @ (before & label).sum(1)))

    if offered is not None:
        metrics[f"survival_{CHANNELS}"] = survival(here, there)
    came = here
    for name, matrix, width, now in zip(names, matrices, widths, kept, strict=True):
        alone = here & (_places(np.where(here, matrix, -np.inf), random) <= width)
        metrics[f"recall_{name}"] = _mean(_share((alone & label).sum(1), wanted), weight)
        metrics[f"survival_{name}"] = survival(now, came)
        metrics[f"auc_{name}"] = _mean(_auc(np.where(here, matrix, -np.inf), label & here, here, random), weight)
        came = now
    unshown = here & (padded(log.reached) < len(log.stages))
    for name, one, other, width in zip(names, matrices[:-1], matrices[1:], widths[:-1], strict=False):
        metrics[f"overlap_{name}"] = _mean(
            _overlap(one, other, unshown, width / np.maximum(here.sum(1), 1), random), weight
        )
    if log.value is not None and log.examined is not None:
        value = padded(log.value)
        chosen = [there, *([] if offered is None else [here]), *kept]
        stages = [*([] if offered is None else [CHANNELS]), *names]
        metrics |= _worth(log, stages, value, chosen, place, weight, by_request)
    metrics |= {name: _mean(values, weight) for name, values in by_request.items()}
    if log.request_weight is not None:
        by_request[WEIGHT] = log.request_weight
    return Evaluation(metrics, by_request, log.user)


@dataclass(frozen=True)
class Difference:
    """One cascade against another on the same requests, with the bounds of a 95 % interval over users."""

    difference: float
    low: float
    high: float
    ratio: float
    """Of the one's mean to the other's."""
    ratio_low: float
    ratio_high: float


def compare(
    one: Array, other: Array, user: Array, resamples: int = 2000, seed: int = 0, weight: Array | None = None
) -> Difference:
    """Paired bootstrap over users: both cascades are judged on the same resampled users (Efron 1979).

    Args:
        one: float64 [requests], a metric of `Evaluation.by_request`; NaN = the request is not judged.
        other: the same of the other cascade.
        user: int64 [requests]: the requests of a user are drawn together.
        resamples: how many.
        seed: of the draws.
        weight: float64 [requests], what each counts; None = 1.
    """
    judged = np.isfinite(one) & np.isfinite(other)
    who = np.unique(user[judged], return_inverse=True)[1]
    share = np.ones(len(one)) if weight is None else weight
    first, second, count = (np.bincount(who, part[judged]) for part in (one * share, other * share, share))
    top, bottom = np.stack([first - second, first], 1), np.stack([count, second], 1)
    value, low, high = intervals(top, bottom, resamples=resamples, seed=seed)
    return Difference(*(float(bound[column]) for column in (0, 1) for bound in (value, low, high)))


def _worth(
    log: FlowLog, names: Sequence[str], value: Array, chosen: Sequence[Array], place: Array, weight: Array,
    by_request: dict[str, Array],
) -> dict[str, float]:  # fmt: skip
    """The metrics by the truth; those of requests go to ``by_request``. ``chosen``: all candidates, then what each stage keeps."""
    assert log.examined is not None
    seen = np.concatenate([[0], log.examined, np.zeros(max(int(place.max(initial=0)) - len(log.examined), 0))])
    by_request["value"] = (value * seen[place]).sum(1)
    best = [_best(value, some, log.examined) for some in chosen]
    by_request["oracle"] = best[0]
    ends = [*best[:-1], by_request["value"]]
    metrics = {
        f"regret_{name}": _mean(before - after, weight)
        for name, before, after in zip(names, ends[:-1], ends[1:], strict=True)
    }
    metrics["oracle_share"] = float(weight @ by_request["value"] / (weight @ best[0]))
    if log.oracle is not None:
        metrics["catalogue_oracle"] = _mean((log.oracle * log.examined[: log.oracle.shape[1]]).sum(1), weight)
        metrics["regret_candidates"] = metrics["catalogue_oracle"] - _mean(best[0], weight)
    return metrics


def _best(value: Array, chosen: Array, examined: Array) -> Array:
    """What the best list of the chosen candidates is worth: float64 [requests]."""
    order = -np.sort(-np.where(chosen, value, 0), axis=1)[:, : len(examined)]
    return order @ examined[: order.shape[1]]


def _places(score: Array, random: Array) -> Array:
    """The place of each score in its row, 1 = the greatest; ties by ``random``."""
    order = np.lexsort((random, -score), axis=1)
    place = np.empty(score.shape, np.int64)
    np.put_along_axis(place, order, np.broadcast_to(np.arange(1, score.shape[1] + 1), score.shape), 1)
    return place


def _dcg(place: Array, label: Array) -> Array:
    return (discount(np.maximum(place, 1)) * (label & (place > 0))).sum(1)


def _share(part: Array, whole: Array) -> Array:
    """NaN where there is nothing."""
    return np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=np.asarray(whole) > 0)


def _mean(values: Array, weight: Array) -> float:
    """Of the finite values, by their weights; NaN where there are none."""
    there = np.isfinite(values)
    return float(np.average(values[there], weights=weight[there])) if there.any() else float("nan")


def _auc(score: Array, label: Array, there: Array, random: Array) -> Array:
    """The area under the ROC curve of each request (Mann and Whitney's statistic); NaN without both kinds."""
    ascending = there.sum(1)[:, None] + 1 - _places(score, random)
    positives = label.sum(1)
    negatives = there.sum(1) - positives
    above = np.where(label, ascending, 0).sum(1) - positives * (positives + 1) / 2
    return _share(above, positives * negatives)


def _overlap(one: Array, other: Array, pool: Array, share: Array, random: Array) -> Array:
    """How much of the best of a pool two stages have in common; NaN where the pool has fewer than 2."""
    size = pool.sum(1)
    cut = np.clip(np.round(size * np.minimum(share, 1)), 1, np.maximum(size - 1, 1))[:, None]
    both = [pool & (_places(np.where(pool, score, -np.inf), random) <= cut) for score in (one, other)]
    return np.where(size > 1, (both[0] & both[1]).sum(1) / cut[:, 0], np.nan)
