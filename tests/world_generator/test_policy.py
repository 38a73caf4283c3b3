"""The logging policy: its propensities are exact."""

import numpy as np
import polars as pl
import pytest

from narrows.world import draw
from narrows.world.policy import at_positions, estimate, lengths, propensities, shelf, show
from narrows.world.settings import World
from tests.world_generator.small import WORLD, log, truth

DRAWS = 40_000


@pytest.fixture(scope="module")
def exact() -> tuple[np.ndarray, np.ndarray]:
    return propensities(WORLD, truth().catalogue, truth().users.take([3, 8]), 20)


@pytest.fixture(scope="module")
def drawn():
    """Many lists of two users on one day."""
    some = truth().users.take([3, 8])
    known, who = estimate(WORLD, truth().catalogue, some), np.repeat([0, 1], DRAWS)
    random = draw.bits(draw.stream(9, "lists"), np.arange(len(who)))
    return show(WORLD, shelf(WORLD, truth().catalogue, 20), known, who, random)


def test_propensities_sum_to_the_length_of_the_list(exact):
    propensity, begin = exact
    assert propensity.sum(1) == pytest.approx([WORLD.list_length] * 2)
    unborn = truth().catalogue.born > 20
    assert unborn.any()
    assert (propensity[:, unborn] == 0).all()
    assert (propensity[:, ~unborn] > 0).all(), "every item may be shown"
    assert propensity.max() <= 1
    places = at_positions(WORLD, propensity, begin)
    assert places.sum(2) == pytest.approx(propensity)
    assert places.sum(1) == pytest.approx(np.ones((2, WORLD.list_length))), "each position shows one item"


def test_items_are_shown_as_often_as_the_propensities_say(exact, drawn):
    for user in range(2):
        rows = slice(user * DRAWS, (user + 1) * DRAWS)
        items, positions = drawn.items[rows], drawn.positions[rows]
        counts = np.zeros((WORLD.items, WORLD.list_length))
        np.add.at(counts, (items.ravel(), positions.ravel() - 1), 1)
        expected = at_positions(WORLD, exact[0][user], exact[1][user])
        for found, share in ((counts, expected), (counts.sum(1), exact[0][user])):
            error = np.sqrt(np.maximum(share * (1 - share), 1e-6) / DRAWS)
            assert (np.abs(found / DRAWS - share) / error).max() < 5


def test_a_list_has_no_item_twice_and_the_logged_propensity_is_the_exact_one(exact, drawn):
    assert (np.diff(np.sort(drawn.items, axis=1), axis=1) > 0).all()
    assert drawn.propensity[:DRAWS] == pytest.approx(exact[0][0][drawn.items[:DRAWS]])
    assert (np.sort(drawn.positions, axis=1) == np.arange(1, WORLD.list_length + 1)).all()


def test_a_list_keeps_its_last_point_whatever_the_rounding(monkeypatch):
    some = truth().users.take(np.arange(40))
    known, there = estimate(WORLD, truth().catalogue, some), shelf(WORLD, truth().catalogue, WORLD.days - 1)
    who = np.arange(40)
    assert np.abs(lengths(WORLD, there, known, who).sum(1) - WORLD.list_length).max() < 1e-9
    for first in (0.0, 1 - 2.0**-53):
        monkeypatch.setattr(draw, "uniform", lambda random, counter, first=first: np.full(len(random), first))
        shown = show(WORLD, there, known, who, np.zeros(40, np.uint64))
        assert (np.diff(np.sort(shown.items, axis=1), axis=1) > 0).all()


def test_inverse_propensities_estimate_any_sum_over_the_catalogue_without_bias():
    """The mean over lists of the sum of 1 / propensity is the number of items: what off-policy estimates rest on."""
    shown = log().filter((pl.col("event_type") == "impression") & (pl.col("day") == 20))
    assert len(shown) > 500
    sums = shown.group_by("session_id").agg((1 / pl.col("propensity")).sum().alias("sum"))["sum"]
    alive = int((truth().catalogue.born <= 20).sum())
    assert sums.mean() == pytest.approx(alive, abs=5 * sums.std() / len(sums) ** 0.5)


@pytest.mark.parametrize("exploration", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("groups", [1, 5, 20])
def test_a_catalogue_of_twice_the_list_is_enough(exploration, groups):
    world = World(users=5, items=20, days=2, list_length=10, subcategories=groups, categories=1, new_items=0,
                  exploration=exploration, popularity=2.5, policy_noise=3)  # fmt: skip
    true = truth(world)
    propensity, _ = propensities(world, true.catalogue, true.users, 0)
    assert propensity.sum(1) == pytest.approx(np.full(5, 10))
    assert propensity.max() <= 1
    stretch = lengths(world, shelf(world, true.catalogue, 0), estimate(world, true.catalogue, true.users), np.arange(5))
    assert (stretch > -1e-12).all()


def test_exploration_alone_shows_all_items_alike():
    world = World(users=3, items=60, days=2, list_length=6, subcategories=4, categories=2, new_items=0, exploration=1)
    propensity, _ = propensities(world, truth(world).catalogue, truth(world).users, 0)
    assert propensity == pytest.approx(np.full((3, 60), 0.1))
