"""Sequences hold what came before, the latest last."""

import numpy as np

from narrows.codesign.sequences import latest, matches


def test_sequences_are_those_of_a_loop():
    random = np.random.default_rng(0)
    events = np.stack([random.integers(0, 6, 200), random.integers(0, 50, 200), random.permutation(200)])
    user, time = random.integers(0, 8, 30), random.integers(0, 60, 30)
    found, count = latest(events, user, time, length=7)
    for request in range(30):
        mine = events[:, (events[0] == user[request]) & (events[1] < time[request])]
        mine = mine[2, np.argsort(mine[1], kind="stable")]
        assert count[request] == len(mine)
        assert found[request].tolist() == [0] * max(7 - len(mine), 0) + (mine[-7:] + 1).tolist()


def test_without_events_sequences_are_empty():
    found, count = latest(np.zeros((3, 0), np.int64), np.array([3]), np.array([5]))
    assert not found.any()
    assert count.tolist() == [0]


def test_matches_are_counted_in_the_row_of_the_request():
    past = np.array([[1, 1, 2], [2, 2, 2]])
    assert matches(past, np.array([0, 0, 1]), np.array([1, 2, 1]), block=2).tolist() == [2, 1, 0]
    assert matches(past, np.zeros(0, int), np.zeros(0, int)).tolist() == []
