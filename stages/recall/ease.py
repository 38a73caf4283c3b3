"""Channel: what a user's items together say of an item, if it is on the rise."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features.lookup import codes, column
from stages.recall.query import Array, Proposals, Query

BLOCK = 4096
"""Users scored at once; bounds the memory."""
PRIOR = 20
"""Added to an item's users of a year: damps the trend of rare items."""


@dataclass(frozen=True)
class Ease:
    """A linear model of every item by a user's others (EASE: Steck 2019, eq. 8), times the item's trend.

    B = -P / diag(P) with a diagonal of 0, P = (X'X + ridge I)^-1, X users x items in {0, 1}. The score of j for a user
    with items x is (x B)_j (users_28d_j + 1) / (users_365d_j + 20).
    """

    items: pa.Array
    """Ids of the items that the model knows, string."""
    weights: Array
    """B, float32 (items, items)."""
    name: str = "ease"

    @classmethod
    def fit(cls, query: Query, n: int, ridge: float) -> Ease:
        """Of the n items with the most users in the last 28 days: the work grows with n cubed."""
        recent = np.nan_to_num(column(query.items, "users_28d"))
        best = np.argsort(-recent, kind="stable")[:n]
        chosen = np.sort(best[recent[best] > 0])
        x = query.seen[:, chosen].astype(np.float64)
        inverse = np.linalg.inv((x.T @ x).toarray() + ridge * np.eye(len(chosen)))
        weights = -inverse / np.diag(inverse)
        np.fill_diagonal(weights, 0)
        return cls(query.ids.take(pa.array(chosen)), weights.astype(np.float32))

    def propose(self, query: Query, n: int) -> Proposals:
        """At most n items that the user did not have, with scores above 0; none for a user without a known item."""
        code = codes(self.items, query.ids)
        known = np.flatnonzero(code >= 0)
        code = code[known]
        recent, year = (np.nan_to_num(column(query.items, f"users_{days}d")[code]) for days in (28, 365))
        weights = self.weights[np.ix_(known, known)] * ((recent + 1) / (year + PRIOR))
        had = query.seen[:, code]
        users, items, scores = [np.empty(0, np.int32)], [np.empty(0, np.int32)], [np.empty(0, np.float32)]
        for start in range(0, had.shape[0], BLOCK):
            block = had[start : start + BLOCK]
            score = block.astype(np.float32) @ weights
            user, item = np.nonzero((score > 0) & ~block.toarray())
            best = Proposals.best(user, item, score[user, item], n)
            users.append(best.user + start)
            items.append(code[best.item])
            scores.append(best.score)
        return Proposals(*(np.concatenate(parts) for parts in (users, items, scores)))

    def save(self, folder: Path) -> None:
        """Ids as Parquet, weights as npy."""
        pq.write_table(pa.table({"item_id": self.items}), folder / "ease.parquet")
        np.save(folder / "ease.npy", self.weights, allow_pickle=False)

    @classmethod
    def load(cls, folder: Path) -> Ease:
        """What `save` wrote."""
        items = pq.read_table(folder / "ease.parquet")["item_id"].combine_chunks()
        return cls(items, np.load(folder / "ease.npy", allow_pickle=False))
