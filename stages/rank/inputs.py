"""From tables to what the networks read: codes of ids, sequences, and dense columns on one scale."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pyarrow as pa

from features.lookup import Array, Catalogue, Pairs, codes, flat
from features.registry import OF_ITEM, matrix, of_items
from features.sequence import sequence_days, sequence_item

PARTS = ("item_id", "subcategory", "category", "brand")
"""An item's embedding is the sum of those of its id (if frequent), subcategory, category and brand."""

BLOCK = 16_384
"""Rows that are scaled at a time: they stay near the processor."""


@dataclass
class CandidateLists:
    """Users with their candidates, as the networks read them."""

    sequence: Array
    """int32 [users, length, parts], 0 = none."""
    ages: Array
    """float32 [users, length]: of the events, in horizons."""
    parts: Array
    """int32 [candidates, parts]."""
    dense: Array
    """float32 [candidates, columns], about standard normal, 0 where missing; the last ones say what is missing."""
    bounds: Array
    """int64 [users + 1]: user u's candidates are bounds[u]:bounds[u + 1]."""

    def __len__(self) -> int:
        return len(self.parts)

    @property
    def nbytes(self) -> int:
        """Of all arrays."""
        return sum(array.nbytes for array in (self.sequence, self.ages, self.parts, self.dense, self.bounds))

    def take(self, users: Array) -> tuple[CandidateLists, Array]:
        """Some users, by row, in this order; and the rows of their candidates, int64."""
        count = np.diff(self.bounds)[users]
        bounds = np.append(0, np.cumsum(count))
        rows = np.arange(bounds[-1]) + np.repeat(self.bounds[users] - bounds[:-1], count)
        part = CandidateLists(self.sequence[users], self.ages[users], self.parts[rows], self.dense[rows], bounds)
        return part, rows


@dataclass
class Labels:
    """The labels of the candidates of `CandidateLists`."""

    label: Array
    """float32 [candidates], 0 or 1."""
    weight: Array
    """float32 [candidates]: 1 / the probability that the sample has the candidate, given its list."""
    request: Array
    """float32 [candidates]: 1 / the probability that the sample has the list, the same for all of it."""
    label_weight: Array
    """float32 [candidates]: of a positive the weight of its event type."""

    def columns(self) -> Array:
        """All of them, float32 [candidates, 4], in the order above."""
        return np.stack((self.label, self.weight, self.request, self.label_weight), 1)

    def take(self, rows: Array) -> Labels:
        """Those of some candidates."""
        return Labels(self.label[rows], self.weight[rows], self.request[rows], self.label_weight[rows])


@dataclass
class Encoder:
    """Vocabularies and scales, learned from the examples; saved as JSON and npz."""

    vocabularies: dict[str, pa.Array]
    columns: tuple[str, ...]
    """The dense columns: pair features. Prerank's score is none of them: the stack adds it, see `stack.py`."""
    knots: Array
    """float32 [columns, knots]: quantiles of each dense column."""
    missing: Array
    """int64: dense columns that were missing somewhere."""
    length: int
    horizon: float
    """Days."""

    @classmethod
    def fit(
        cls, catalogue: Catalogue, occurrences: pa.Array, columns: tuple[str, ...], dense: Array, length: int,
        min_count: int, horizon: float,
    ) -> Encoder:  # fmt: skip
        """Learn the vocabularies and the quantiles of each column.

        Args:
            catalogue: of the items.
            occurrences: item ids, as often as they occur in sequences and candidates.
            columns: the names of the dense columns.
            dense: their values, float32 [candidates, columns], of all candidates or of a sample.
            length: events of a user that the network reads.
            min_count: an id that occurs less often has no code.
            horizon: its length in days.
        """
        counts = occurrences.value_counts()
        frequent = np.asarray(counts.field("counts")) >= min_count
        vocabularies = {"item_id": counts.field("values").filter(pa.array(frequent))}
        for name in PARTS[1:]:
            vocabularies[name] = catalogue.vocabulary[name]
        sample = dense.astype(np.float64)
        probabilities = np.linspace(0, 1, 65)
        knots = np.zeros((dense.shape[1], len(probabilities)), np.float32)
        for k in range(dense.shape[1]):
            known = sample[np.isfinite(sample[:, k]), k]
            if len(known):
                knots[k] = np.quantile(known, probabilities)
        missing = np.flatnonzero(~np.isfinite(sample).all(0)) if len(sample) else np.empty(0, np.int64)
        return cls(vocabularies, columns, knots, missing, length, horizon)

    def sizes(self) -> list[int]:
        """Rows of each part's embedding table; code 0 = none."""
        return [len(self.vocabularies[name]) + 1 for name in PARTS]

    def dense_size(self) -> int:
        """Dense inputs of a candidate: the columns, and for some whether they are missing."""
        return len(self.knots) + len(self.missing)

    def item_parts(self, items: pa.Table) -> Array:
        """int32 [items + 1, parts]; the last row, all 0, is for items the catalogue lacks."""
        table = np.zeros((items.num_rows + 1, len(PARTS)), np.int32)
        for k, name in enumerate(PARTS):
            table[:-1, k] = codes(items[name], self.vocabularies[name]) + 1
        return table

    def scale(self, dense: Array, out: Array | None = None, which: Sequence[int] | None = None) -> Array:
        """Each column through its own quantiles to about a standard normal; ties go to the middle of their run.

        Args:
            dense: float32 [rows, columns].
            out: what is written into, float32 [rows, dense_size]; None = an array is made.
            which: the numbers of the columns that ``dense`` has; None = all.

        Returns:
            ``out``.
        """
        probabilities = np.linspace(0, 1, self.knots.shape[1])
        normal = np.array([NormalDist().inv_cdf(p) for p in np.clip(probabilities, 0.001, 0.999)])
        which = list(range(len(self.knots)) if which is None else which)
        curves = []
        for knots in self.knots[which]:
            values, first = np.unique(knots, return_index=True)
            curves.append((values, np.add.reduceat(normal, first) / np.diff(np.append(first, len(knots)))))
        place = {int(k): len(self.knots) + n for n, k in enumerate(self.missing)}
        out = np.empty((len(dense), self.dense_size()), np.float32) if out is None else out
        for at in range(0, len(dense), BLOCK):
            block, rows = np.ascontiguousarray(dense[at : at + BLOCK].T), out[at : at + BLOCK]
            for k, values, curve, known in zip(which, block, curves, np.isfinite(block), strict=True):
                rows[:, k] = np.where(known, np.interp(values, *curve), 0)
                if k in place:
                    rows[:, place[k]] = ~known
        return out

    def dense(self, pairs: Pairs) -> Array:
        """The scaled columns of pairs, float32 [pairs, dense_size]; those of the item alone are scaled once for each item."""
        catalogue, alone = pairs.catalogue, [name in OF_ITEM for name in self.columns]
        scaled = catalogue.once("scaled", lambda: self.scale(of_items(catalogue, self.columns)), self)
        others = [k for k, one in enumerate(alone) if not one]
        return self.scale(matrix(pairs, [self.columns[k] for k in others]), scaled[pairs.item], others)

    def lists(self, users: pa.Table, catalogue: Catalogue, user: Array, item: Array, dense: Array) -> CandidateLists:
        """What the networks read of some candidates, grouped by user.

        Args:
            users: the users' profiles, with their sequences.
            catalogue: of the items.
            user: each candidate's row in `users`, int [candidates], ascending.
            item: each candidate's row in the items, int [candidates].
            dense: their scaled columns, float32 [candidates, dense_size].
        """
        table = catalogue.once("parts", lambda: self.item_parts(catalogue.items), self)
        events = codes(flat(users, "sequence_item")[1], catalogue.ids)
        sequence = table[sequence_item(users, events, self.length)]
        bounds = np.searchsorted(user, np.arange(users.num_rows + 1))
        ages = sequence_days(users, self.length) / np.float32(self.horizon)
        return CandidateLists(sequence, ages, table[item], dense, bounds)

    def save(self, folder: Path) -> None:
        """JSON for the vocabularies, npz for the scales."""
        vocabularies = {name: values.to_pylist() for name, values in self.vocabularies.items()}
        content = {
            "length": self.length,
            "horizon": self.horizon,
            "columns": self.columns,
            "vocabularies": vocabularies,
        }
        (folder / "encoder.json").write_text(json.dumps(content))
        np.savez(folder / "encoder.npz", knots=self.knots, missing=self.missing)

    @classmethod
    def load(cls, folder: Path) -> Encoder:
        """What `save` wrote."""
        content = json.loads((folder / "encoder.json").read_text())
        vocabularies = {name: pa.array(values, pa.string()) for name, values in content["vocabularies"].items()}
        with np.load(folder / "encoder.npz", allow_pickle=False) as arrays:
            scales = arrays["knots"], arrays["missing"]
        return cls(vocabularies, tuple(content["columns"]), *scales, content["length"], content["horizon"])
