"""The FAISS index of the two-tower channel."""

from __future__ import annotations

import faiss
import numpy as np
import pyarrow as pa
import pytest

from stages.recall import index
from stages.recall.newcomers import Known
from stages.recall.two_tower import TwoTowerModel


@pytest.mark.parametrize("kind", index.KINDS)
def test_the_index_gives_no_padding_and_nothing_for_zero_queries(kind):
    vectors = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)
    built = index.build(vectors, kind)
    queries = np.concatenate([vectors[:3] * 10, np.zeros((1, 8), np.float32)])
    row, ids, score = index.Searcher(built).search(queries, 1000)  # more than there are: FAISS pads with -1
    assert (ids >= 0).all()
    assert (ids < 300).all()
    assert set(row) == {0, 1, 2}
    assert np.isfinite(score).all()
    exact = np.argmax(queries[:3] @ vectors.T, 1)
    assert [ids[row == k][0] for k in range(3)] == exact.tolist()


def test_an_empty_index_and_an_unknown_kind():
    built = index.build(np.empty((0, 4), np.float32), "exact")
    assert [len(part) for part in index.Searcher(built).search(np.ones((2, 4), np.float32), 5)] == [0, 0, 0]
    with pytest.raises(ValueError, match="auto, exact, ivf, hnsw"):
        index.build(np.ones((200, 4), np.float32), "tree")


def test_more_neighbours_than_a_gpu_finds_are_searched_on_the_cpu():
    """Another index stands where the copy on the GPU would: which one answers is seen by its ids."""
    vectors = np.random.default_rng(1).normal(size=(index.GPU_MOST + 52, 4)).astype(np.float32)
    searcher = index.Searcher(index.build(vectors, "exact"))
    searcher.__dict__["gpu"] = index.build(vectors[::-1], "exact")
    nearest = int(np.argmax(vectors[:1] @ vectors.T))
    assert searcher.search(vectors[:1], index.GPU_MOST)[1][0] == len(vectors) - 1 - nearest
    row, ids, _ = searcher.search(vectors[:1], index.GPU_MOST + 1)
    assert ids[0] == nearest
    assert len(row) == index.GPU_MOST + 1


def test_a_model_keeps_one_searcher_and_that_one_copy():
    vectors = np.random.default_rng(2).normal(size=(20, 4)).astype(np.float32)
    known = Known({}, pa.array([], pa.string()), (0.0, 0.0), 1)
    model = TwoTowerModel(pa.array([str(k) for k in range(20)]), None, index.build(vectors, "exact"), known)
    assert model.searcher is model.searcher
    assert "gpu" not in vars(model.searcher)
    model.searcher.search(vectors, 3)
    assert "gpu" in vars(model.searcher), "looked for at the first search, and kept"


def on_a_gpu() -> bool:
    return hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus() > 0


def test_few_vectors_are_searched_exactly_and_many_by_lists_that_find_nearly_all_of_the_nearest():
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(50, 8)).astype(np.float32)
    vectors = centers[rng.integers(0, 50, index.EXACT_MOST + 1)] + rng.normal(0, 0.5, (index.EXACT_MOST + 1, 8))
    few, many = index.build(vectors[:-1], "auto"), index.build(vectors, "auto")
    assert isinstance(few, faiss.IndexFlat)
    assert isinstance(many, faiss.IndexIVF)
    exact = index.build(vectors, "exact")
    queries = centers.repeat(2, 0)
    near, found = (set(zip(*index.Searcher(each).search(queries, 100)[:2], strict=True)) for each in (exact, many))
    assert len(near & found) > 0.95 * len(near)


@pytest.mark.skipif(not on_a_gpu(), reason="no GPU, or faiss was built without one (faiss-cpu)")
@pytest.mark.parametrize("kind", ["exact", "ivf"])
def test_a_gpu_finds_what_the_cpu_finds(kind):
    vectors = np.random.default_rng(3).normal(size=(5000, 16)).astype(np.float32)
    built = index.build(vectors, kind)
    gpu, cpu = index.Searcher(built), index.Searcher(built)
    cpu.__dict__["gpu"] = None
    assert gpu.gpu is not None
    for n in (10, index.GPU_MOST, index.GPU_MOST + 1):
        (_, ids, score), (_, other, same) = gpu.search(vectors[:50], n), cpu.search(vectors[:50], n)
        np.testing.assert_allclose(score, same, rtol=1e-3, atol=1e-3)
        assert (ids == other).mean() > 0.99, f"{n} of {kind}"
