"""The flow log of a world has the truth of the world, a cascade of the widths asked for, and weights that add up."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from pydantic import ValidationError

from narrows.codesign.worldlog import STAGES, FlowWorld, drifted, flow_log
from narrows.world.settings import World
from narrows.world.truth import Truth

WORLD = World(users=60, items=300, days=12, sessions_per_day=0.6, subcategories=20, new_items=0.2, list_length=8)
SMALL = FlowWorld(world=WORLD, requests=120, past_days=5, recalled=80, keep=(40, 20, 6), sample=5)


@pytest.fixture(scope="module")
def whole():
    return flow_log(replace(SMALL, sample=0))


@pytest.fixture(scope="module")
def log():
    return flow_log(SMALL)


def test_values_and_oracle_are_the_truth_of_the_world(whole):
    truth = Truth.of(WORLD)
    for request in (0, 60, 119):
        when = datetime.fromtimestamp(int(whole.time[request]), UTC)
        rows = slice(whole.bounds[request], whole.bounds[request + 1])
        every = next(truth.wanted([whole.user[request]], when, "view"))[0]
        np.testing.assert_allclose(whole.value[rows], every[whole.item[rows] - 1], rtol=2e-4)
        np.testing.assert_allclose(whole.oracle[request], np.sort(every)[::-1][:6], rtol=2e-4)


def test_the_logged_cascade_keeps_its_widths_in_the_order_of_its_scores(whole):
    assert (whole.sizes == 80).all()
    for stage, kept in enumerate((40, 20, 6), start=1):
        passed = np.bincount(whole.request, whole.reached > stage)
        assert (passed == kept).all()
        there = whole.reached >= stage
        assert (np.isfinite(whole.score[:, stage]) == there).all()
        assert ((whole.rank[:, stage] > 0) == there).all()
    plain = flow_log(replace(SMALL, exploration=0, sample=0))
    last = plain.rank[:, -1]
    for request in range(5):
        rows = np.flatnonzero((plain.request == request) & (last > 0))
        order = rows[np.argsort(last[rows])]
        assert (np.diff(plain.score[order, -1]) <= 0).all()


def test_labels_are_of_shown_items_and_as_frequent_as_the_truth_says(whole):
    assert (whole.reached[whole.label == 1] == len(STAGES)).all()
    many = flow_log(
        FlowWorld(world=replace(WORLD, users=600), requests=3000, past_days=5, recalled=80, keep=(40, 20, 6))
    )
    shown = many.reached == len(STAGES)
    expected = (many.value * many.examined[np.clip(many.rank[:, -1] - 1, 0, 5)])[shown].sum()
    assert many.label.sum() == pytest.approx(expected, rel=0.06)


def test_a_sample_has_weights_for_what_it_leaves_out(log, whole):
    counts = [np.bincount(log.request, log.reached == stage) for stage in range(1, 5)]
    assert all((count == 5).all() for count in counts)
    stood_for = [np.bincount(log.request, (log.reached == stage) * log.weight) for stage in range(1, 5)]
    for got, expected in zip(stood_for, (40, 20, 14, 6), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-6)
    np.testing.assert_array_equal(log.oracle, whole.oracle)


def test_sequences_and_features_know_the_past_alone(whole):
    assert whole.sequence.shape == (120, 50)
    later = flow_log(replace(SMALL, world=replace(WORLD, returns=0.5), sample=0))  # what comes later changes nothing
    np.testing.assert_array_equal(later.features, whole.features)
    assert (np.diff(whole.time) >= 0).all()
    filled = whole.sequence > 0
    assert (np.diff(filled.astype(int), axis=1) >= 0).all()  # the latest stand last
    views = whole.columns.index("item_views")
    request, row = 100, int(whole.bounds[100])
    assert whole.features[row, views] == (whole.sequence[request] == whole.item[row]).sum()


def test_the_same_settings_make_the_same_log_whatever_the_blocks(log, monkeypatch):
    monkeypatch.setattr("narrows.codesign.worldlog.BLOCK_CELLS", 900)
    again = flow_log(SMALL)
    np.testing.assert_array_equal(again.item, log.item)
    np.testing.assert_array_equal(again.label, log.label)
    np.testing.assert_allclose(again.features, log.features, rtol=1e-4)
    assert (flow_log(replace(SMALL, seed=2)).label != log.label).any()


def test_switches_do_what_they_say(log):
    gap = flow_log(replace(SMALL, gap="pair"))
    assert [gap.columns[column] for column in np.flatnonzero(gap.seen_from)] == [
        "item_views", "subcategory_share", "brand_share", "signal",
    ]  # fmt: skip
    np.testing.assert_array_equal(gap.features, log.features)
    assert not log.seen_from.any()
    shown = flow_log(replace(SMALL, label="shown"))
    np.testing.assert_array_equal(shown.label, shown.reached == 4)
    rare = flow_log(replace(SMALL, kind="purchase"))
    assert rare.label.sum() < log.label.sum()
    assert rare.value.max() < log.value.max()
    sure = flow_log(replace(SMALL, errors=(0, 0, 0, 0), popular=0, exploration=0, sample=0))
    top = sure.value[sure.reached == 4].reshape(120, 6)
    np.testing.assert_allclose(np.sort(top)[:, ::-1], sure.oracle, rtol=1e-5)


def test_interests_drift_from_the_first_day_on():
    everyone = Truth.of(WORLD).users
    moving = replace(SMALL, drift=1.0)
    assert drifted(SMALL, everyone, 9) is everyone
    np.testing.assert_allclose(drifted(moving, everyone, 0).interests, everyone.interests, atol=1e-6)
    likeness = [(drifted(moving, everyone, day).interests * everyone.interests).sum(-1).mean() for day in (3, 11)]
    assert 1 > likeness[0] > likeness[1] > 0.5


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"keep": (40, 50, 6)}, "no stage may keep more"), ({"recalled": 290}, "have more items"),
        ({"past_days": 12}, "leave no day"), ({"gap": "some"}, "pattern"),
    ],
)  # fmt: skip
def test_impossible_settings_are_refused(wrong, says):
    with pytest.raises(ValidationError, match=says):
        replace(SMALL, **wrong)
