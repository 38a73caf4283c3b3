"""FAISS index over item vectors: exact for few, IVF for many, HNSW by setting, on the GPU where faiss has one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import faiss
import numpy as np

Array = np.ndarray
KINDS = ("auto", "exact", "ivf", "hnsw")
EXACT_MOST = 20_000
"""The most items that ``auto`` searches exactly: an exact search takes a millisecond a user and 200,000 items."""
GPU_MOST = 2048
"""The most neighbours of a query, and the most lists of an IVF index that are looked into, that faiss finds on a GPU."""


def build(vectors: Array, kind: str) -> faiss.Index:
    """An inner-product index of float32 `vectors` [items, size]; row number = id.

    Raises:
        ValueError: `kind` is none of `KINDS`.
    """
    count, size = vectors.shape
    if kind == "auto":
        kind = "exact" if count <= EXACT_MOST else "ivf"
    vectors = np.ascontiguousarray(vectors, np.float32)
    if kind == "exact" or count < 100:  # too few to cluster
        index: Any = faiss.IndexFlatIP(size)
    elif kind == "ivf":
        lists = max(1, int(4 * count**0.5) // 2)
        index = faiss.IndexIVFFlat(faiss.IndexFlatIP(size), size, lists, faiss.METRIC_INNER_PRODUCT)
        index.train(vectors)
        index.nprobe = max(1, lists // 8)
    elif kind == "hnsw":
        index = faiss.IndexHNSWFlat(size, 32, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efSearch = 256
    else:
        raise ValueError(f"index = {kind!r}: give one of {', '.join(KINDS)}.")
    index.add(vectors)
    return index


def on_gpu(index: faiss.Index) -> faiss.Index | None:
    """A copy on the first GPU; None where there is none, faiss was built without, or the kind does not run there."""
    there = hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus() > 0
    if not there or isinstance(index, faiss.IndexHNSW) or getattr(index, "nprobe", 0) > GPU_MOST:
        return None
    return faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, index)


@dataclass(frozen=True)
class Searcher:
    """An index that is searched on the GPU where there is one; it is copied there once, at the first search."""

    index: faiss.Index
    """On the CPU: what is saved, and what is asked for more than `GPU_MOST` neighbours."""

    @cached_property
    def gpu(self) -> faiss.Index | None:
        """The copy on the GPU, if there is one."""
        return on_gpu(self.index)

    def chosen(self, n: int) -> faiss.Index:
        """The index that finds n neighbours."""
        return self.gpu if n <= GPU_MOST and self.gpu is not None else self.index

    def search(self, queries: Array, n: int) -> tuple[Array, Array, Array]:
        """The up to n nearest ids of every query, best first.

        A query of zeros (a user the tower knows nothing of) has no nearest, and FAISS fills with -1 where it has fewer
        than n: both give no rows.

        Returns:
            Row of the query, int64; id, int64; score, float32.
        """
        n = min(n, self.index.ntotal)
        rows = np.flatnonzero(np.abs(queries).sum(1) > 0)
        if not n or not len(rows):
            return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32)
        score, ids = self.chosen(n).search(np.ascontiguousarray(queries[rows], np.float32), n)
        real = ids.ravel() >= 0
        return np.repeat(rows, n)[real], ids.ravel()[real], score.ravel()[real]


def save(index: faiss.Index, path: Path) -> None:
    """As a FAISS file."""
    faiss.write_index(index, str(path))


def load(path: Path) -> faiss.Index:
    """What `save` wrote."""
    return faiss.read_index(str(path))
