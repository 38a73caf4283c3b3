"""The ladder of time scales, and the step that suits the data."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

from features.ladder import GROUP_STEPS, NAMES, STEPS, best_step, by_popularity, slower
from narrows.config.sections import SourceSettings


def items(**counts: list[int]) -> pa.Table:
    """Items a, b, c, ... with the users of some steps; of the other steps those of the next shorter one."""
    size, latest = len(next(iter(counts.values()))), [0] * len(next(iter(counts.values())))
    columns = {"item_id": [chr(97 + k) for k in range(size)]}
    for step in NAMES:
        latest = counts.get(f"users_{step}", latest)
        columns[f"users_{step}"] = latest
    return pa.table(columns)


def test_each_step_is_four_times_the_one_before_and_one_is_the_horizon():
    lengths = np.array(list(STEPS.values()))
    assert set(lengths[1:] / lengths[:-1]) == {4.0}
    assert STEPS["1x"] == 1
    assert set(GROUP_STEPS) <= set(STEPS)


def test_the_step_above_is_the_next_or_the_nearest_there_is():
    assert [slower(step) for step in NAMES] == [*NAMES[1:], NAMES[-1]]
    assert [slower(step, GROUP_STEPS) for step in ("64th", "1x", "64x")] == ["4th", "4x", "16x"]


def test_popularity_breaks_ties_by_the_longer_steps_then_by_id():
    table = items(users_4th=[1, 1, 1, 0], users_1x=[1, 1, 2, 9])
    assert table.sort_by(by_popularity(table, "4th"))["item_id"].to_pylist() == ["c", "a", "b", "d"]


@pytest.mark.parametrize("step", ["64th", "4th", "1x", "16x"])
def test_the_best_step_is_that_whose_list_of_a_horizon_ago_was_most_wanted(step):
    """Of 60 items one step puts those first that were wanted, and the other steps others."""
    counts = {f"users_{name}": [100 if k // 8 == place else 1 for k in range(60)] for place, name in enumerate(NAMES)}
    place = NAMES.index(step)
    wanted = items(users_1x=[9 if k // 8 == place else 0 for k in range(60)])
    assert best_step(items(**counts), wanted) == step


def test_without_a_horizon_before_or_without_demand_the_step_is_the_default():
    table = items(users_1x=[3, 2, 1])
    assert best_step(None, table) == "1x"
    assert best_step(table, items(users_1x=[0, 0, 0]), default="4x") == "4x"
    assert best_step(table.slice(0, 0), table) == "1x"


@pytest.mark.parametrize(
    ("horizon", "grain", "visit"),
    [("7d", "day", "1d"), ("30d", "day", "1d"), ("1d", "day", "3h"), ("1h", "hour", "5m"), ("1m", "1m", "1m")],
)
def test_a_visit_is_the_longest_usual_length_within_a_seventh_of_the_horizon(horizon, grain, visit):
    source, length = SourceSettings(horizon=horizon, grain=grain), visit[:-1]
    unit = {"d": "days", "h": "hours", "m": "minutes"}[visit[-1]]
    assert source.visit_length == timedelta(**{unit: int(length)})


def test_a_setting_fixes_the_length_of_a_visit():
    assert SourceSettings(visit="30m").visit_length == timedelta(minutes=30)
