"""Random numbers by counter: uniform, independent of each other, the same for the same counters."""

import numpy as np
import pytest
from scipy import stats

from narrows.world import draw

KEY = draw.stream(1, "test")
COUNT = 200_000


def test_a_number_depends_on_its_counters_alone():
    grid = draw.bits(KEY, np.arange(50)[:, None], np.arange(30))
    assert grid[7, 11] == draw.bits(KEY, np.array([7]), np.array([11]))[0] == draw.bits(KEY, np.array([7]), 11)[0]
    assert len(np.unique(grid)) == grid.size
    assert (draw.bits(draw.stream(2, "test"), np.arange(50)) != draw.bits(KEY, np.arange(50))).all()
    assert (draw.bits(draw.stream(1, "other"), np.arange(50)) != draw.bits(KEY, np.arange(50))).all()


def test_numbers_are_uniform_and_neighbours_are_unrelated():
    numbers = draw.uniform(KEY, np.arange(COUNT))
    assert stats.kstest(numbers, "uniform").pvalue > 0.001
    pairs, *_ = np.histogram2d(numbers[:-1], numbers[1:], bins=20, range=[[0, 1], [0, 1]])
    assert stats.chisquare(pairs.ravel()).pvalue > 0.001
    across, *_ = np.histogram2d(numbers, draw.uniform(KEY, np.arange(COUNT), 1), bins=20, range=[[0, 1], [0, 1]])
    assert stats.chisquare(across.ravel()).pvalue > 0.001


def test_normal_numbers_are_normal():
    assert stats.kstest(draw.normal(KEY, np.arange(COUNT)), "norm").pvalue > 0.001
    nearly = draw.nearly_normal(KEY, np.arange(COUNT))
    assert abs(nearly.mean()) < 0.01
    assert nearly.std() == pytest.approx(1, abs=0.01)
    assert nearly.dtype == np.float32


@pytest.mark.parametrize("rate", [0.01, 0.7, 9.0])
def test_poisson_numbers_have_the_distribution_up_to_their_cut(rate):
    counts = draw.poisson(draw.uniform(KEY, np.arange(COUNT)), np.full(COUNT, rate), 63)
    assert counts.mean() == pytest.approx(rate, abs=5 * (rate / COUNT) ** 0.5)
    assert (counts == 1).mean() == pytest.approx(stats.poisson.pmf(1, rate), abs=0.005)
    assert draw.poisson(np.array([0.999999]), np.array([9.0]), 3).tolist() == [3]
