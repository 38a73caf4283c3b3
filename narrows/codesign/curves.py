"""What each width is worth to each request: as it was, and as learned on earlier requests from what is known before."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from narrows.codesign.allocation import allocate, at_price, pooled, price_of

Array = NDArray[np.float64]
SIGNALS = (
    "candidates", "history", "score_1", "gap_10", "gap_half", "spread", "entropy", "gap_at_narrow", "mass_at_narrow",
)  # fmt: skip


def realised(
    bounds: Array, first: Array, second: Array, gain: Array, widths: tuple[int, ...], discount: Array
) -> Array:
    """[requests, widths]: the value of the list that each width leads to.

    The first stage keeps its best ``width`` candidates, the second orders them, and position p of the list counts ``discount[p]``.

    Args:
        bounds: [requests + 1], rows of each request.
        first: [rows], scores of the first stage.
        second: [rows], of the second.
        gain: [rows], what a candidate is worth when it is examined: the label, or a world's truth.
        widths: candidates that reach the second stage.
        discount: [positions]
    """
    value = np.zeros((len(bounds) - 1, len(widths)))
    for request, (low, high) in enumerate(pairwise(bounds)):
        order = np.argsort(-first[low:high], kind="stable")
        better, gains = second[low:high][order], gain[low:high][order]
        for column, width in enumerate(widths):
            top = np.argsort(-better[:width], kind="stable")[: len(discount)]
            value[request, column] = gains[:width][top] @ discount[: len(top)]
    return value


def signals(bounds: Array, first: Array, history: Array, narrow: int) -> NDArray[np.float32]:
    """[requests, `SIGNALS`]: what is known of a request once the first stage has scored its candidates.

    Args:
        bounds: [requests + 1]
        first: [rows], scores of the first stage.
        history: [requests], how many events of the user there are.
        narrow: the smallest width.
    """
    rows = np.zeros((len(bounds) - 1, len(SIGNALS)), np.float32)
    for request, (low, high) in enumerate(pairwise(bounds)):
        scores = -np.sort(-first[low:high].astype(float))
        if not len(scores):
            continue
        spread = scores.std() or 1.0
        mass = np.exp((scores - scores[0]) / spread)
        mass /= mass.sum()
        at = min(narrow, len(scores)) - 1
        rows[request] = (
            len(scores), history[request], scores[0], scores[0] - scores[min(10, len(scores)) - 1],
            scores[0] - scores[len(scores) // 2], spread, -(mass * np.log(mass + 1e-12)).sum(),
            (scores[at] - scores[min(at + narrow, len(scores) - 1)]) / spread, mass[: at + 1].sum(),
        )  # fmt: skip
    return rows


@dataclass(frozen=True)
class Curves:
    """A model of the value of each width: LightGBM, monotone in the width, its predictions pooled to be concave."""

    booster: object
    widths: tuple[int, ...]
    cost: Array
    """[widths]"""

    @classmethod
    def fit(
        cls, rows: Array, value: Array, widths: tuple[int, ...], cost: Array, seed: int = 0, weight: Array | None = None
    ) -> Curves:
        """Learn from earlier requests.

        Args:
            rows: [requests, signals]
            value: [requests, widths], as `realised`.
            widths: candidates that reach the second stage, rising.
            cost: [widths], of a request.
            seed: of the trees.
            weight: [requests], what each counts; None = 1.
        """
        import lightgbm as lgb

        counts = None if weight is None else np.repeat(weight, len(widths))
        data = lgb.Dataset(_with_width(rows, widths), value.ravel(), weight=counts)
        parameters = {
            "objective": "regression", "learning_rate": 0.05, "num_leaves": 15, "min_data_in_leaf": 200, "seed": seed,
            "monotone_constraints": [0] * rows.shape[1] + [1], "verbose": -1, "deterministic": True, "num_threads": 1,
            "lambda_l2": 10.0, "bagging_fraction": 0.7, "bagging_freq": 1,
        }  # fmt: skip
        return cls(lgb.train(parameters, data, num_boost_round=150), widths, np.asarray(cost, float))

    def predict(self, rows: Array) -> Array:
        """[requests, widths]: expected values, monotone and concave in the cost."""
        flat = self.booster.predict(_with_width(rows, self.widths), num_threads=1)  # type: ignore[attr-defined]
        return pooled(np.asarray(flat, float).reshape(len(rows), len(self.widths)), self.cost)


@dataclass(frozen=True)
class Trial:
    """Requests served with a price learned earlier; arrays [requests]."""

    value: Array
    cost: Array
    choice: NDArray[np.int64]
    price: float


def out_of_sample(
    curves: Curves, earlier: Array, rows: Array, value: Array, budget: float, weight: Array | None = None
) -> Trial:
    """Serve later requests with curves and a price that earlier ones gave: nothing of the later ones is known before.

    Args:
        curves: learned on requests before ``rows``.
        earlier: [requests, signals], of the latest requests before ``rows``: the price is set on them.
        rows: [requests, signals], of the requests that are served.
        value: [requests, widths], what each width turned out to be worth to them.
        budget: mean cost a request.
        weight: [requests], what each of the ``earlier`` ones counts; None = 1.
    """
    counts = np.ones(len(earlier)) if weight is None else weight
    price = price_of(*counted(curves.predict(earlier), curves.cost, counts), budget * counts.sum())
    choice = at_price(curves.predict(rows), curves.cost, price)
    at = np.arange(len(rows))
    return Trial(value[at, choice], curves.cost[choice], choice, price)


def in_hindsight(value: Array, cost: Array, budget: float, weight: Array | None = None) -> float:
    """Mean value where every curve is known before: no allocation of this mean cost does better, but for one step."""
    counts = np.ones(len(value)) if weight is None else weight
    found = allocate(*counted(value, cost, counts), budget * counts.sum())
    return float(np.average(value[np.arange(len(value)), found.choice], weights=counts))


def fixed_at(value: Array, cost: Array, budget: float, weight: Array | None = None) -> float:
    """Mean value of fixed widths at a mean cost; between two widths, of drawing one of them by chance for each request."""
    return float(np.interp(budget, cost, pooled(np.average(value, 0, weight)[None], cost)[0]))


def counted(value: Array, cost: Array, weight: Array) -> tuple[Array, Array]:
    """[requests, widths]: values and costs of requests that stand for so many: at a price their best width is the same."""
    return value * weight[:, None], cost * weight[:, None]


def _with_width(rows: Array, widths: tuple[int, ...]) -> NDArray[np.float32]:
    repeated = np.repeat(rows, len(widths), axis=0)
    return np.column_stack([repeated, np.tile(np.log(widths), len(rows))]).astype(np.float32)
