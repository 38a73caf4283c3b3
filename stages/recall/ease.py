"""The linear model of the `ease` channel."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features.ladder import NAMES, slower
from features.lookup import codes
from stages.recall.channels.ease import Ease
from stages.recall.query import Array, Proposals, Query

BLOCK = 4096
"""Users scored at once; bounds the memory."""
TREND_PRIOR = 20
"""Added to an item's users of 64 horizons: damps the trend of rare items."""


@dataclass(frozen=True)
class EaseModel:
    """A linear model of every item by a user's others (EASE: Steck 2019, eq. 8), times the item's trend.

    B = -P / diag(P) with a diagonal of 0, P = (X'X + ridge I)^-1, X users x items in {0, 1}. The score of j for a user
    with items x is (x B)_j (users_s_j + 1) / (users_64x_j + 20), s being the step above the one that suits the data.
    """

    items: pa.Array
    """Ids of the items that the model knows, string."""
    weights: Array
    """B, float32 (items, items)."""

    def propose(self, query: Query, n: int) -> Proposals:
        """At most n items that the user did not have, with scores above 0; none for a user without a known item."""
        code, weights = query.catalogue.once("ease", lambda: self._with_trend(query), self)
        had = query.seen[:, code]
        blocks = [Proposals.none()]
        for start in range(0, had.shape[0], BLOCK):
            block = had[start : start + BLOCK]
            score = block.astype(np.float32) @ weights
            user, item = np.nonzero((score > 0) & ~block.toarray())
            best = Proposals.best(user, item, score[user, item], n)
            blocks.append(Proposals(best.user + start, code[best.item], best.score))
        return Proposals(*(np.concatenate([getattr(b, part) for b in blocks]) for part in ("user", "item", "score")))

    def _with_trend(self, query: Query) -> tuple[Array, Array]:
        """The codes of the known items that the catalogue has, and the weights among them times the trend."""
        code = codes(self.items, query.ids)
        known = np.flatnonzero(code >= 0)
        code = code[known]
        recent, ever = (
            np.nan_to_num(query.catalogue.column(f"users_{step}")[code]) for step in (slower(query.step), NAMES[-1])
        )
        return code, self.weights[np.ix_(known, known)] * ((recent + 1) / (ever + TREND_PRIOR))

    def save(self, folder: Path) -> None:
        """Ids as Parquet, weights as npy."""
        pq.write_table(pa.table({"item_id": self.items}), folder / "items.parquet")
        np.save(folder / "weights.npy", self.weights, allow_pickle=False)


def fit(channel: Ease, query: Query) -> EaseModel:
    """The weights of the channel's number of items with the most users lately."""
    recent = np.nan_to_num(query.catalogue.column(f"users_{slower(query.step)}"))
    best = np.argsort(-recent, kind="stable")[: channel.items]
    chosen = np.sort(best[recent[best] > 0])
    x = query.seen[:, chosen].astype(np.float64)
    inverse = np.linalg.inv((x.T @ x).toarray() + channel.ridge * np.eye(len(chosen)))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    return EaseModel(query.ids.take(pa.array(chosen)), weights.astype(np.float32))


def load(folder: Path) -> EaseModel:
    """What `EaseModel.save` wrote."""
    items = pq.read_table(folder / "items.parquet")["item_id"].combine_chunks()
    return EaseModel(items, np.load(folder / "weights.npy", allow_pickle=False))
