"""The FAISS index of the two-tower channel."""

from __future__ import annotations

import numpy as np
import pytest

from stages.recall import index


@pytest.mark.parametrize("kind", index.KINDS)
def test_the_index_gives_no_padding_and_nothing_for_zero_queries(kind):
    vectors = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)
    built = index.build(vectors, kind)
    queries = np.concatenate([vectors[:3] * 10, np.zeros((1, 8), np.float32)])
    row, ids, score = index.search(built, queries, 1000)  # more than there are: FAISS pads with -1
    assert (ids >= 0).all()
    assert (ids < 300).all()
    assert set(row) == {0, 1, 2}
    assert np.isfinite(score).all()
    exact = np.argmax(queries[:3] @ vectors.T, 1)
    assert [ids[row == k][0] for k in range(3)] == exact.tolist()


def test_an_empty_index_and_an_unknown_kind():
    built = index.build(np.empty((0, 4), np.float32), "exact")
    assert [len(part) for part in index.search(built, np.ones((2, 4), np.float32), 5)] == [0, 0, 0]
    with pytest.raises(ValueError, match="exact, ivf, hnsw"):
        index.build(np.ones((200, 4), np.float32), "tree")
