"""From tables to what the networks read: codes of ids, sequences, and dense columns on one scale."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from features.lookup import Array, catalogue, codes, flat
from features.pair import FEATURES
from features.sequence import sequence_days, sequence_item

PARTS = ("item_id", "subcategory", "category", "brand")
"""An item's embedding is the sum of those of its id (if frequent), subcategory, category and brand."""
DENSE = tuple(FEATURES)
"""Dense columns. Prerank's score is none of them: the stack adds it, see `stack.py`."""


@dataclass
class Lists:
    """Users with their candidates, as arrays."""

    sequence: Array
    """int32 [users, length, parts], 0 = none."""
    days: Array
    """float32 [users, length]: ages of the events."""
    parts: Array
    """int32 [candidates, parts]."""
    dense: Array
    """float32 [candidates, columns], about standard normal, 0 where missing; the last ones say what is missing."""
    bounds: Array
    """int64 [users + 1]: user u's candidates are bounds[u]:bounds[u + 1]."""

    def __len__(self) -> int:
        return len(self.parts)


@dataclass
class Encoder:
    """Vocabularies and scales, learnt from the examples; saved as JSON and npz."""

    vocabularies: dict[str, pa.Array]
    knots: Array
    """float32 [columns, knots]: quantiles of each dense column."""
    missing: Array
    """int64: dense columns that were missing somewhere."""
    length: int

    @classmethod
    def fit(cls, items: pa.Table, listed: pa.Array, dense: Array, length: int, min_count: int) -> Encoder:
        """`listed`: item ids as often as they occur in sequences and candidates; an id below `min_count` has no code."""
        counts = listed.value_counts()
        often = np.asarray(counts.field("counts")) >= min_count
        vocabularies = {"item_id": counts.field("values").filter(pa.array(often))}
        for name in PARTS[1:]:
            vocabularies[name] = catalogue(items).vocabulary[name]
        sample = dense[:: max(1, len(dense) // 50_000)].astype(np.float64)
        levels = np.linspace(0, 1, 65)
        knots = np.zeros((dense.shape[1], len(levels)), np.float32)
        for k in range(dense.shape[1]):
            known = sample[np.isfinite(sample[:, k]), k]
            if len(known):
                knots[k] = np.quantile(known, levels)
        missing = np.flatnonzero(~np.isfinite(sample).all(0)) if len(sample) else np.empty(0, np.int64)
        return cls(vocabularies, knots, missing, length)

    def sizes(self) -> list[int]:
        """Rows of each part's embedding table; code 0 = none."""
        return [len(self.vocabularies[name]) + 1 for name in PARTS]

    def width(self) -> int:
        """Dense columns of a candidate."""
        return len(self.knots) + len(self.missing)

    def item_parts(self, items: pa.Table) -> Array:
        """int32 [items + 1, parts]; the last row, all 0, is for items the catalogue lacks."""
        table = np.zeros((items.num_rows + 1, len(PARTS)), np.int32)
        for k, name in enumerate(PARTS):
            table[:-1, k] = codes(items[name], self.vocabularies[name]) + 1
        return table

    def scale(self, dense: Array) -> Array:
        """Each column through its own quantiles to about a standard normal; ties go to the middle of their run."""
        levels = np.linspace(0, 1, self.knots.shape[1])
        normal = np.sqrt(2.0) * _erfinv(np.clip(2 * levels - 1, -0.998, 0.998))
        out = np.zeros((len(dense), self.width()), np.float32)
        for k, knots in enumerate(self.knots):
            values, first = np.unique(knots, return_index=True)
            middle = np.add.reduceat(normal, first) / np.diff(np.append(first, len(knots)))
            known = np.isfinite(dense[:, k])
            out[known, k] = np.interp(dense[known, k], values, middle)
        out[:, len(self.knots) :] = ~np.isfinite(dense[:, self.missing])
        return out

    def lists(
        self, users: pa.Table, items: pa.Table, candidates: pa.Table, dense: Array, user: Array, item: Array
    ) -> Lists:
        """`dense` raw [candidates, DENSE]; `user`, `item` are the candidates' rows in `users` and `items`."""
        table = self.item_parts(items)
        listed = codes(flat(users, "sequence_item")[1], catalogue(items).ids)
        sequence = table[sequence_item(users, listed, self.length)]
        bounds = np.searchsorted(user, np.arange(users.num_rows + 1))
        return Lists(sequence, sequence_days(users, self.length), table[item], self.scale(dense), bounds)

    def save(self, folder: Path) -> None:
        """JSON for the vocabularies, npz for the scales."""
        words = {name: values.to_pylist() for name, values in self.vocabularies.items()}
        (folder / "encoder.json").write_text(json.dumps({"length": self.length, "vocabularies": words}))
        np.savez(folder / "encoder.npz", knots=self.knots, missing=self.missing)

    @classmethod
    def load(cls, folder: Path) -> Encoder:
        """What `save` wrote."""
        said = json.loads((folder / "encoder.json").read_text())
        words = {name: pa.array(values, pa.string()) for name, values in said["vocabularies"].items()}
        with np.load(folder / "encoder.npz", allow_pickle=False) as arrays:
            return cls(words, arrays["knots"], arrays["missing"], said["length"])


def _erfinv(x: Array) -> Array:
    """Inverse error function (Winitzki 2008, a = 0.147; off by at most 0.002)."""
    log = np.log1p(-(x**2))
    half = 2 / (np.pi * 0.147) + log / 2
    return np.sign(x) * np.sqrt(np.sqrt(half**2 - log / 0.147) - half)
