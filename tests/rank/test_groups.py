"""How rank's work is cut: groups of like size, blocks of lists, threads, and processes change nothing but rounding."""

from __future__ import annotations

import copy
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch

from stages.rank import learn, processes
from stages.rank.inputs import CandidateLists, Labels
from stages.rank.learn import Training
from stages.rank.net import DIN, WideDeep
from stages.rank.place import Feed, Step, device
from stages.rank.score import passes, score
from stages.rank.work import alike, helpers, work_of

HOW = Training(epochs=2, learning_rate=0.01, batch=8, weight_decay=0.01, listwise=1.0, seed=1)
SIZES = [30, 6, 5, 4]
CPU = torch.device("cpu")
HAS_GPU = torch.cuda.is_available()


def window(seed: int, users: int = 41, length: int = 12) -> tuple[CandidateLists, Labels]:
    """Users with 0 to 20 candidates and 0 to `length` events; a positive is what its first dense column says."""
    random = np.random.default_rng(seed)
    count = random.integers(0, 21, users)
    bounds = np.append(0, np.cumsum(count))
    rows = int(bounds[-1])
    sequence = np.stack([random.integers(1, size, (users, length)) for size in SIZES], -1).astype(np.int32)
    sequence[np.arange(length) < random.integers(0, length + 1, users)[:, None]] = 0
    dense = random.normal(size=(rows, 3)).astype(np.float32)
    parts = np.stack([random.integers(0, size, rows) for size in SIZES], -1).astype(np.int32)
    label = (dense[:, 0] > 1).astype(np.float32)
    weight = np.where(label > 0, 1, random.integers(1, 9, rows)).astype(np.float32)
    ages = random.random((users, length), np.float32) * 9
    of_list = np.repeat(random.integers(1, 4, users), count).astype(np.float32)
    return CandidateLists(sequence, ages, parts, dense, bounds), Labels(label, weight, of_list, np.ones_like(label))


DATA = [window(0), window(1, users=30)]


def network(dropout: float = 0.0) -> DIN:
    torch.manual_seed(0)
    return DIN(SIZES, dense=3, embedding_size=4, hidden=8, units=3, dropout=dropout)


def trained(dropout: float = 0.3, **how: object) -> DIN:
    net = network(dropout)
    learn.train(net, DATA, HOW, **how)
    return net


def same(one: torch.nn.Module, other: torch.nn.Module, **tolerance: float) -> None:
    for name, value in one.state_dict().items():
        torch.testing.assert_close(value, other.state_dict()[name], **(tolerance or {"rtol": 0, "atol": 0}), msg=name)


def whole_step(groups: list[np.ndarray]) -> list[torch.Tensor]:
    """The gradient of one step over these groups of users of the first window."""
    (lists, labels), net = DATA[0], network()
    users = np.concatenate(groups)
    weight, positive = learn.Whole.of(lists, labels)
    whole = learn.Whole(float(weight[users].sum()), int(positive[users].sum()))
    (_, batches), *_ = Feed([(lists, labels)], CPU).batches([Step(0, groups)])
    losses = [learn._loss(net, batch, whole, 1.0) for batch in batches]
    return list(torch.autograd.grad(sum(losses), list(net.parameters())))


def test_the_gradient_of_groups_is_that_of_the_batch():
    users = np.flatnonzero(np.diff(DATA[0][0].bounds))[:20]
    groups = alike(users, work_of(DATA[0][0]), least=1, most=3)
    assert len(groups) == 3
    for one, other in zip(whole_step([users]), whole_step(groups), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_groups_hold_all_users_and_users_of_like_work():
    work = np.array([1, 50, 2, 48, 3, 0, 1000])
    users = np.array([0, 1, 2, 3, 4])
    groups = alike(users, work, least=20, most=3)
    assert sorted(np.concatenate(groups)) == [0, 1, 2, 3, 4]
    assert len(groups) > 1
    assert all(work[a].min() >= work[b].max() for a, b in pairwise(groups))
    assert len(alike(users, work, least=1e9, most=3)) == 1, "too little work to be cut"
    assert alike(users[:0], work, least=1, most=3) == []


def test_threads_change_nothing():
    same(trained(threads=1), trained(threads=3))


def test_lists_that_come_in_blocks_change_nothing():
    whole = trained()
    same(whole, trained(memory=3000))
    same(whole, trained(memory=1))  # a step is a block
    feed = Feed(list(DATA), CPU, 3000)
    assert feed.held is None
    steps = [Step(k, [np.array([user])]) for k in (0, 1) for user in np.flatnonzero(np.diff(DATA[k][0].bounds))]
    assert 1 < len(list(feed._blocks(steps))) < len(steps)
    lists = DATA[0][0]
    np.testing.assert_array_equal(score(whole, lists), score(whole, lists, memory=3000))


def test_a_score_is_that_of_the_user_alone():
    lists = DATA[0][0]
    for net in (trained(), WideDeep(SIZES, dense=3, embedding_size=4, hidden=8, units=3, dropout=0.3)):
        logits = score(net, lists)
        for user in np.flatnonzero(np.diff(lists.bounds))[:9]:
            part, rows = lists.take(np.array([user]))
            arguments = (part.sequence, part.ages, part.parts[None], part.dense[None])
            with torch.inference_mode():
                alone = net(*(torch.from_numpy(array) for array in arguments))[0]
            np.testing.assert_allclose(logits[rows], alone.numpy(), rtol=1e-4, atol=1e-5)


def test_a_pass_has_as_many_users_as_the_device_holds():
    counts = np.array([9, 1, 5, 4, 0, 30])
    users = np.array([5, 0, 2, 3, 1])
    assert [list(group) for group in passes(users, counts, 18)] == [[5], [0, 2], [3, 1]]
    assert [list(group) for group in passes(users, counts, 10_000)] == [[5, 0, 2, 3, 1]]
    assert passes(users[:0], counts, 18) == []


def test_tasks_are_done_once_and_their_results_are_in_order():
    for threads in (1, 4):
        with helpers(CPU, threads) as others:
            for _ in range(2):
                for k in range(20):
                    others.add(partial(pow, k, 2))
                assert others.results() == [k * k for k in range(20)]
            others.add(partial(int, "x"))
            with pytest.raises(ValueError, match="invalid literal"):
                others.results()


@pytest.mark.slow
def test_two_processes_learn_what_one_does():
    """Without dropout, as each process leaves out other outputs."""
    one, two = network(), network()
    learn.train(one, DATA, HOW)
    processes.train(two, DATA, HOW, 2)
    same(one, two, rtol=1e-3, atol=1e-5)
    unlike = [not torch.equal(a, b) for a, b in zip(one.parameters(), network().parameters(), strict=True)]
    assert all(unlike), "something was learned"


def test_half_precision_is_as_good_to_its_rounding():
    """The network as a GPU runs it, in bfloat16, on the CPU."""
    net, lists = trained(), DATA[0][0]
    exact = score(net, lists)
    (_, batches), *_ = Feed([(lists, None)], CPU).batches([Step(0, [np.flatnonzero(np.diff(lists.bounds))])])
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        half = net(*batches[0].arguments).float()[batches[0].real]
    rows = batches[0].rows[batches[0].real]
    np.testing.assert_allclose(half.numpy(), exact[rows], rtol=0.05, atol=0.1)


@pytest.mark.skipif(not HAS_GPU, reason="no CUDA device: the parity of CPU and GPU is not tested")
def test_a_gpu_learns_and_scores_what_the_cpu_does(monkeypatch):
    gpu = trained(dropout=0.0)
    assert device().type == "cuda"
    held = score(gpu, DATA[0][0])
    np.testing.assert_allclose(held, score(gpu, DATA[0][0], memory=3000), rtol=0.02, atol=0.02)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    cpu = trained(dropout=0.0)
    np.testing.assert_allclose(score(copy.deepcopy(gpu), DATA[0][0]), held, rtol=0.05, atol=0.1)
    assert np.corrcoef(score(cpu, DATA[0][0]), held)[0, 1] > 0.98
