"""Quotas: what the channels' ranks were worth decides how many candidates each gives."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from narrows.stage import Past, Table
from stages.recall.quotas import BLOCK, LEAST, greedy, learned, read
from tests.recall.tiny import ASOF

WEEK = timedelta(days=7)


def ranked(users: int, depth: int, channels: int) -> np.ndarray:
    """Every channel ranks ``depth`` items of its own of every user."""
    size = users * depth
    ranks = np.zeros((channels, channels * size), np.int32)
    for k in range(channels):
        ranks[k, k * size : (k + 1) * size] = np.tile(np.arange(1, depth + 1), users)
    return ranks


def test_the_channel_whose_candidates_are_wanted_gets_the_room():
    ranks = ranked(users=50, depth=100, channels=2)
    positive = (ranks[0] > 0) & (ranks[0] % 5 == 0)  # the first finds one in five down to its end, the second nothing
    quotas = greedy(ranks, positive, 50, ["good", "poor"], {}, n=80)
    assert quotas == {"good": 80 - LEAST, "poor": LEAST}


def test_what_another_channel_has_found_already_is_worth_nothing_again():
    ranks = ranked(users=50, depth=100, channels=3)
    ranks[1] = ranks[0]  # the same items in the same order: they cost no room, and they bring nothing
    positive = (ranks[2] > 0) & (ranks[2] <= 60)
    quotas = greedy(ranks, positive, 50, ["a", "twin", "b"], {}, n=70)
    assert quotas["b"] == 60
    assert quotas["a"] == LEAST


@pytest.mark.parametrize(("enough", "quota"), [(1, 60), (0.9, 50), (0.5, 30), (0.01, LEAST)])
def test_no_more_is_given_than_holds_enough_of_the_positives(enough, quota):
    ranks = ranked(users=50, depth=100, channels=2)
    positive = (ranks[0] > 0) & (ranks[0] <= 55)  # ten ranks at a time, until nine in ten are in, or all
    assert greedy(ranks, positive, 50, ["good", "poor"], {}, n=400, enough=enough) == {"good": quota, "poor": LEAST}


def test_a_setting_fixes_a_quota_and_the_others_share_the_rest():
    ranks = ranked(users=20, depth=100, channels=2)
    positive = ranks[0] > 0
    quotas = greedy(ranks, positive, 20, ["good", "poor"], {"good": 20}, n=60)
    assert quotas == {"good": 20, "poor": 40}


def test_quotas_are_whole_blocks_and_stop_at_what_was_ranked():
    quotas = greedy(ranked(10, 25, 1), np.ones(250, bool), 10, ["only"], {}, n=400)
    assert quotas == {"only": LEAST + 2 * BLOCK}


def test_labels_are_the_events_of_the_horizon_after_and_ineligible_rows_do_not_count(tmp_path: Path):
    """Users take what `right` proposed, within the week after; before it and after it they take what `wrong` did."""
    before = ASOF - WEEK
    rows = [(f"u{u}", f"{name}{k}", name, k + 1) for u in range(30) for name in ("right", "wrong") for k in range(60)]
    flow = pa.table(
        {
            "user_id": [user for user, *_ in rows],
            "item_id": [item for _, item, *_ in rows],
            "reason": pa.array([None if k <= 50 else "not_eligible" for *_, k in rows], pa.string()),
            **{
                f"{name}_rank": pa.array([k if of == name else None for *_, of, k in rows], pa.int32())
                for name in ("right", "wrong")
            },
        }
    )
    (tmp_path / "data").mkdir()
    pq.write_table(flow, tmp_path / "data" / "part-00000.parquet")
    flows = Past({before: Table("recall", before, "v", tmp_path, {})})
    times = {"right": before.end + WEEK / 2, "wrong": before.end - WEEK / 2, "late": ASOF.end + WEEK / 2}
    taken = [(f"u{u}", f"right{k}", times["right"]) for u in range(30) for k in range(10, 40)]
    taken += [
        (f"u{u}", f"wrong{k}", at) for u in range(30) for k in range(40) for at in (times["wrong"], times["late"])
    ]
    rows = pa.table({name: [row[k] for row in taken] for k, name in enumerate(("user_id", "item_id", "event_time"))})
    (tmp_path / "events" / "data").mkdir(parents=True)
    pq.write_table(rows, tmp_path / "events" / "data" / "part-00000.parquet")
    events = Table("events", ASOF, "v", tmp_path / "events", {})
    seen = read(flows, events, WEEK, ["right", "wrong"])
    assert learned(seen, {"right": 30, "wrong": 30}, {}, n=60, enough=1.0) == {"right": 40, "wrong": LEAST}
    assert read(Past(), events, WEEK, ["right", "wrong"]) == []
    nothing = replace(seen[0], positive=np.zeros_like(seen[0].positive))
    for unknown in ([], [nothing]):
        assert learned(unknown, {"right": 30, "wrong": 7}, {"wrong": 7}, n=60, enough=1.0) == {"right": 30, "wrong": 7}
