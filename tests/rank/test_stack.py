"""The stack: the share of the networks in the order, and the calibration."""

from __future__ import annotations

import numpy as np
import pytest

from narrows.metrics import expected_calibration_error
from stages.rank import stack


def log_odds(score: np.ndarray) -> np.ndarray:
    """Of an event whose log odds are score + a standard normal that is not known."""
    unknown = np.random.default_rng(9).normal(size=2000)
    at = np.linspace(score.min(), score.max(), 200)
    p = (1 / (1 + np.exp(-(at[:, None] + unknown)))).mean(1)
    return np.interp(score, at, np.log(p / (1 - p)))


def test_the_stack_finds_weights_and_calibrates():
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(4000), 30)
    x, z = rng.normal(size=(2, len(group)))
    truth = 1 / (1 + np.exp(-(1.0 * x + 0.7 * z - 3)))
    label = (rng.random(len(group)) < truth).astype(np.float32)
    logit = log_odds(0.7 * z - 3)  # calibrated, as the networks are
    keep = (label > 0) | (rng.random(len(group)) < 0.25)  # a sample with its weights is as good as all
    weight = np.where(label > 0, 1, 4).astype(np.float32)[keep]
    fitted = stack.fit(x[keep], logit[keep], label[keep], weight, group[keep])
    assert 0.4 < fitted.network / fitted.prerank < 1.2
    assert expected_calibration_error(fitted.probability(x, logit, group), label) < 0.01


def test_networks_that_stand_alone_keep_their_own_probability():
    logit = np.random.default_rng(4).normal(size=200) - 2
    probability = stack.Stack().probability(np.zeros(200), logit, np.repeat(np.arange(20), 10))
    np.testing.assert_allclose(probability, 1 / (1 + np.exp(-logit)), rtol=1e-4)


def test_the_stack_falls_back_to_the_order_that_helps():
    rng = np.random.default_rng(1)
    group = np.repeat(np.arange(300), 20)
    x = rng.normal(size=len(group))
    label = (rng.random(len(group)) < 1 / (1 + np.exp(2 - 2 * x))).astype(np.float32)
    worse = -x + rng.normal(size=len(group))
    fitted = stack.fit(x, worse, label, np.ones(len(x), np.float32), group)
    assert fitted.network <= 0.2 * fitted.prerank
    probability, order = fitted.probability(x, worse, group), fitted.order(x, worse)
    assert all(np.array_equal(np.argsort(probability[group == g]), np.argsort(order[group == g])) for g in range(300))


def test_the_users_base_rate_comes_from_the_networks():
    """Prerank's scores of a busy and of an idle user are alike, the networks' are not; the order is prerank's."""
    rng = np.random.default_rng(2)
    users, each = 2000, 30
    group = np.repeat(np.arange(users), each)
    base = np.where(np.arange(users) % 2, -1.0, -5.0)[group]
    x = rng.normal(size=len(group))
    label = (rng.random(len(group)) < 1 / (1 + np.exp(-(x + base)))).astype(np.float32)
    logit = log_odds(base)  # knows the user, not the item
    keep = (label > 0) | (rng.random(len(group)) < 0.25)
    weight = np.where(label > 0, 1, 4).astype(np.float32)
    fitted = stack.fit(x[keep], logit[keep], label[keep], weight[keep], group[keep])
    assert fitted.network == 0
    probability = fitted.probability(x, logit, group)
    for some in (base == -1, base == -5):
        assert abs(probability[some].mean() / label[some].mean() - 1) < 0.15
    assert np.array_equal(np.lexsort((probability, group)), np.lexsort((x, group)))


def test_a_gain_that_is_not_significant_changes_no_order():
    """Twenty lists whose networks are a little better by chance: prerank's order stands."""
    mixed = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        group = np.repeat(np.arange(20), 30)
        x = rng.normal(size=len(group))
        label = (rng.random(len(group)) < 1 / (1 + np.exp(2 - 2 * x))).astype(np.float32)
        noise = x + rng.normal(size=len(group))  # no news beyond prerank's
        mixed += stack.fit(x, noise, label, np.ones(len(x), np.float32), group).network > 0
    assert mixed <= 3


def test_lists_that_want_the_same_items_are_no_independent_witnesses():
    """A gain that is chance, item by item: a thousand lists that want thirty items call it significant each fifth time."""
    naive = clustered = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        lists, popular = np.arange(1000), rng.exponential(size=30)
        wanted = rng.choice(30, 1000, p=popular / popular.sum())
        gain = rng.normal(0, 0.4, 30)[wanted] + rng.normal(size=1000)
        naive += stack.z_score(gain, lists, None) > stack.MIN_Z_SCORE
        clustered += stack.z_score(gain, lists, wanted) > stack.MIN_Z_SCORE
    assert naive > 40
    assert clustered <= 6


def test_a_network_that_likes_an_item_changes_no_order():
    """Half of the lists want one of two items, which the network likes more than prerank does: of such items there are two."""
    rng = np.random.default_rng(5)
    group, item = np.repeat(np.arange(400), 20), np.tile(np.arange(20), 400)
    wanted = np.where(rng.random(400) < 0.5, rng.integers(0, 2, 400), rng.integers(2, 20, 400))
    label = (item == wanted[group]).astype(np.float32)
    x, weight = rng.normal(size=len(item)), np.ones(len(item))
    logit = x + (item < 2)
    assert stack.fit(x, logit, label, weight, group).network > 0
    assert stack.fit(x, logit, label, weight, group, item=item).network == 0


def test_errors_of_lists_that_want_different_items_are_those_of_lists():
    rng = np.random.default_rng(3)
    gain, group = rng.normal(0.1, 1, 500), np.repeat(np.arange(500), 2)
    alone = gain.mean() / (gain.std(ddof=1) / 500**0.5)
    assert stack.z_score(gain, group, None) == pytest.approx(alone)
    assert stack.z_score(gain, group, np.arange(1000)) == pytest.approx(alone)
    same = stack.z_score(np.repeat(gain[:50], 10), np.arange(500), np.repeat(np.arange(50), 10))
    assert same == pytest.approx(gain[:50].mean() / (gain[:50].std() / 50**0.5), rel=0.01)
