"""The truth: against sums written out by hand, and against what happens in the log."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta
from itertools import product
from math import cos, exp, log, pi, prod

import numpy as np
import polars as pl
import pytest

from narrows.world import draw
from narrows.world.demand import taken
from narrows.world.settings import WorldError
from tests.world_generator import small
from tests.world_generator.small import WORLD, truth, z

NOON = WORLD.instant(12, 12.5)


def by_hand(user: int, item: int, interest: int, instant: datetime) -> float:
    """The equations of docs/world.md for one user, item and interest, as they are written there."""
    true = truth()
    age = max((instant - WORLD.begin).days - int(true.catalogue.born[item]), 0)
    noise = 0.0
    key, mask = int(draw.stream(WORLD.seed, "noise")), 2**64 - 1
    random = (key + (user * WORLD.items + item + 1) * 0x9E3779B97F4A7C15) & mask
    random = (random ^ (random >> 30)) * 0xBF58476D1CE4E5B9 & mask
    random = (random ^ (random >> 27)) * 0x94D049BB133111EB & mask
    random ^= random >> 31
    pieces = [(random >> shift) & 0xFFFF for shift in (0, 16, 32, 48)]
    noise = (sum(pieces) - 2 * 65535) * 3**0.5 / 65536
    return (
        log(WORLD.views / (1 - WORLD.views))
        + WORLD.taste * float(true.users.interests[user, interest] @ true.catalogue.vectors[item])
        + WORLD.appeal * float(true.catalogue.popularity[item])
        + WORLD.freshness * exp(-age / WORLD.freshness_days)
        + WORLD.loyalty * (item in true.users.staples[user])
        + WORLD.noise * noise
    )


def shares_by_hand(user: int, hour: float) -> list[float]:
    """The probability of each interest of a user in a session."""
    odds = [
        float(weight) * exp(WORLD.interest_hours * cos(2 * pi * (hour - float(peak)) / 24))
        for weight, peak in zip(truth().users.weights[user], truth().users.peaks[user], strict=True)
    ]
    return [each / sum(odds) for each in odds]


def purchase_by_hand(user: int, item: int, interest: int) -> float:
    """The probability that an examined item is purchased."""
    bought = WORLD.purchases / (1 - WORLD.purchases) * exp(float(truth().catalogue.quality[item]))
    return WORLD.carts * bought / (1 + bought) / (1 + exp(-by_hand(user, item, interest, NOON)))


def test_the_affinity_is_the_equation():
    staple = int(truth().users.staples[4][0])
    items = np.array([[staple, 30, 119], [7, 31, 0]])
    found = truth().affinity([4, 9], items, NOON)
    for row, user in enumerate((4, 9)):
        for column, interest in product(range(3), range(3)):
            expected = by_hand(user, int(items[row, column]), interest, NOON)
            assert found[row, column, interest] == pytest.approx(expected, abs=1e-4)


def test_the_value_of_a_list_is_the_sum_over_all_that_can_happen():
    """Every interest, every set of purchases: all 3 x 2^4 outcomes are enumerated."""
    old = np.flatnonzero(truth().catalogue.born <= 0)
    items = [int(old[5]), int(old[40]), int(truth().users.staples[4][1]), int(old[60])]
    expected = at_least_one = 0.0
    for interest, share in enumerate(shares_by_hand(4, 12.5)):
        chances = [
            purchase_by_hand(4, item, interest) * position**-WORLD.position_bias
            for position, item in enumerate(items, start=1)
        ]
        for outcome in product((0, 1), repeat=len(items)):
            chance = share * prod(c if bought else 1 - c for c, bought in zip(chances, outcome, strict=True))
            expected += chance * sum(outcome)
            at_least_one += chance * any(outcome)
    value = truth().value([4], [items], NOON)
    assert value.expected[0] == pytest.approx(expected, rel=1e-5)
    assert value.at_least_one[0] == pytest.approx(at_least_one, rel=1e-5)


def test_empty_positions_and_unborn_items_are_worth_nothing():
    unborn = int(np.flatnonzero(truth().catalogue.born > 12)[0])
    assert truth().value([4], [[-1, unborn]], NOON).expected[0] == 0
    later = truth().value([4], [[-1, unborn]], NOON + timedelta(days=40))
    assert later.expected[0] > 0


def test_the_oracle_is_the_best_list_of_the_catalogue():
    """No item is more wanted than those of the list, in blocks of one user as of all; swaps only lose."""
    best = truth().oracle([1, 2, 3], NOON, 5)
    chance = np.concatenate(list(truth().wanted([1, 2, 3], NOON)))
    for user in range(3):
        assert chance[user, best[user]] == pytest.approx(np.sort(chance[user])[::-1][:5])
    value = truth().value([1, 2, 3], best, NOON).expected
    assert value == pytest.approx((np.take_along_axis(chance, best, 1) / np.arange(1, 6)).sum(1))
    for one, other in ((0, 1), (2, 4)):
        swapped = best.copy()
        swapped[:, [one, other]] = swapped[:, [other, one]]
        assert (truth().value([1, 2, 3], swapped, NOON).expected < value).all()


def test_the_oracle_in_blocks_is_the_oracle(monkeypatch):
    whole = truth().oracle(np.arange(20), NOON)
    monkeypatch.setattr("narrows.world.truth.BLOCK_CELLS", WORLD.items * WORLD.interests * 3)
    assert (truth().oracle(np.arange(20), NOON) == whole).all()


@pytest.mark.parametrize("kind", ["view", "cart", "purchase"])
def test_lists_are_worth_what_happens_in_the_log(kind):
    """Over all sessions of the log: as many positives as the values of the shown lists say, and so many lists with one."""
    shown = small.sessions()
    expected, variance, one, of_one = 0.0, 0.0, 0.0, 0.0
    for user, items, at in shown.select("user_id", "list", "event_time").iter_rows():
        value = truth().value([user], [items], at, kind)
        expected += value.expected[0]
        variance += value.expected[0]
        one += value.at_least_one[0]
        of_one += value.at_least_one[0] * (1 - value.at_least_one[0])
    rows = small.log().filter((pl.col("event_type") == kind) & pl.col("position").is_not_null())
    assert expected > 500
    assert abs(z(len(rows), expected, variance)) < 4
    assert abs(z(rows["session_id"].n_unique(), one, of_one)) < 4


def test_each_position_is_viewed_as_often_as_it_is_examined():
    world = dataclasses.replace(WORLD, shuffled=0.8, days=20)
    expected = np.zeros(world.list_length)
    for user, items, at in small.sessions(world).select("user_id", "list", "event_time").iter_rows():
        chance = truth(world).probabilities([user], [items], at, "view")[0] @ truth(world).shares([user], at)[0]
        expected += chance / np.arange(1, world.list_length + 1) ** world.position_bias
    views = small.log(world).filter((pl.col("event_type") == "view") & pl.col("position").is_not_null())
    found = np.bincount(views["position"].to_numpy(), minlength=world.list_length + 1)[1:]
    assert expected[0] > 3 * expected[-1] > 100
    assert (np.abs(found - expected) < 4 * np.sqrt(expected)).all()


def test_the_log_has_the_purchases_that_its_demand_says():
    """Pairs of user and item with a purchase from sessions of days 5 to 25, in all, by user, and of staples."""
    chance = taken(truth(), np.arange(WORLD.users), 5, 25)
    bought = small.log().filter((pl.col("event_type") == "purchase") & pl.col("day").is_between(5, 24))
    found = np.zeros(chance.shape)
    found[bought["user_id"].to_numpy(), bought["item_id"].to_numpy()] = 1
    spread = chance * (1 - chance)
    assert abs(z(found.sum(), chance.sum(), spread.sum())) < 4
    assert (np.abs(found.sum(1) - chance.sum(1)) <= 4.5 * np.sqrt(spread.sum(1))).all()
    staples = np.zeros(chance.shape, bool)
    staples[np.arange(WORLD.users)[:, None], truth().users.staples] = True
    assert abs(z(found[staples].sum(), chance[staples].sum(), spread[staples].sum())) < 4
    assert found[staples].sum() > 100


def test_an_instant_has_a_zone_and_lies_in_the_world():
    for wrong in (datetime(2024, 1, 5), WORLD.begin - timedelta(seconds=1)):
        with pytest.raises(WorldError, match="give one with a time zone"):
            truth().value([0], [[1]], wrong)
