"""The forecast of what items will be wanted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from narrows.asof import Asof
from narrows.stage import Table
from narrows.store.write import write_table
from stages.item_profiles import demand

ASOF, DAY = Asof.parse("2020-01-12"), timedelta(days=1)
END = ASOF.end.timestamp()


def events(seed: int = 0, days: int = 10, users: int = 120) -> pa.Table:
    """Every six hours other items come up, are wanted for a day by more and more users, and are forgotten."""
    random = np.random.default_rng(seed)
    rows: list[tuple[str, str, float]] = []
    for period in range(days * 4):
        for age in range(4):
            for user in random.choice(users, 6 * (age + 1), replace=False):
                second = END - (days * 4 - period) * 21_600 + random.uniform(0, 21_600)
                rows.append((f"u{user}", f"i{(period - age) * 3 + random.integers(3)}", second))
    return table(rows)


def table(rows: list[tuple[str, str, float]]) -> pa.Table:
    at = [datetime.fromtimestamp(second, UTC) for _, _, second in rows]
    columns: dict[str, Any] = {"user_id": [row[0] for row in rows], "item_id": [row[1] for row in rows]}
    return pa.table(columns | {"event_time": pa.array(at, pa.timestamp("us", "UTC"))})


def published(folder: Path, rows: pa.Table, known: list[str] | None = None) -> Table:
    """An events table; ``known`` = the days on which the rows arrived, else those on which they happened."""
    known = known or [f"{each:%Y-%m-%d}" for each in rows["event_time"].to_pylist()]
    write_table(rows.append_column("known", pa.array(known)), folder / "data")
    return Table("events", Asof.parse("2020-01-13"), "v", folder, {"rows": rows.num_rows, "partitioned_by": "known"})


def demand_of(log: demand.Log, forecast: pa.Table | None) -> dict[str, float]:
    assert forecast is not None
    return dict(zip(forecast["item_id"].to_pylist(), forecast["expected_demand"].to_pylist(), strict=True))


def test_items_on_the_rise_are_expected_before_those_that_were_popular():
    log = demand.log_of(events())
    share = demand_of(log, demand.forecast(log, END, 86_400, 24))
    rising, over = ({f"i{period * 3 + k}" for k in range(3)} for period in (39, 36))
    assert min(share[item] for item in rising & set(share)) > max(share.get(item, 0) for item in over)
    last_day = dict(zip(*np.unique(log.item[log.second > END - 86_400], return_counts=True), strict=True))
    counts = {log.items[int(code)].as_py(): count for code, count in last_day.items()}
    assert max(counts[item] for item in over) > max(counts.get(item, 0) for item in rising)


def test_demand_counts_a_user_once_for_an_item_and_less_for_many_items():
    log = demand.log_of(
        table([("a", "x", 10), ("a", "x", 12), ("a", "y", 13), ("b", "x", 11), ("b", "x", 31), ("c", "y", 5)])
    )
    two = 1 + 1 / np.log2(3)
    np.testing.assert_allclose(demand.demand(log, 10, 10), [1 + 1 / two, 1 / two])
    np.testing.assert_allclose(demand.demand(log, 11, 21), [1 + 1 / two, 1 / two])  # b had x again, a too
    np.testing.assert_allclose(demand.demand(log, 32, 10), [0, 0])


def test_the_items_at_a_cut_are_counted_as_a_loop_counts_them():
    rows = events(seed=3)
    log, cut, horizon = demand.log_of(rows), END - 130_000.0, 86_400.0
    at, features = demand._items_at(log, cut, horizon)
    told = [(r["user_id"], r["item_id"], r["event_time"].timestamp()) for r in rows.to_pylist()]
    lengths = [demand.STEPS[step] * horizon for step in demand.COUNTED]
    users = [{(u, i) for u, i, s in told if cut - length <= s < cut} for length in lengths]
    for place, row in zip(at, features, strict=True):
        item = log.items[int(place)].as_py()
        count = [sum(i == item for _, i in each) for each in users]
        np.testing.assert_allclose(row[:5], [c / max(len(each), 1) for c, each in zip(count, users, strict=True)])
        mine = [s for _, i, s in told if i == item and s < cut]
        np.testing.assert_allclose(row[-2:], [min((cut - min(mine)) / horizon, 4), (cut - max(mine)) / horizon])


def test_another_future_changes_nothing(tmp_path: Path):
    rows = events()
    late = table([(f"u{k}", "i0", END - 3600.0) for k in range(100)])  # happened before the end, arrived after
    after = table([(f"u{k}", "i1", END + 3600.0) for k in range(100)])
    days = [f"{each:%Y-%m-%d}" for each in rows["event_time"].to_pylist()]
    known = [*days, *["2020-01-13"] * 200]
    plain = demand.expected(published(tmp_path / "a", rows), ASOF, DAY, 24, 10**6)
    other = demand.expected(
        published(tmp_path / "b", pa.concat_tables([rows, late, after]), known), ASOF, DAY, 24, 10**6
    )
    assert plain is not None
    assert other is not None
    assert plain.equals(other)


def test_without_a_horizon_that_is_over_nothing_is_forecast(tmp_path: Path):
    assert demand.expected(published(tmp_path / "a", events(days=1)), ASOF, DAY, 24, 10**6) is None
    nothing = published(tmp_path / "b", events().slice(0, 0))
    assert demand.expected(nothing, ASOF, DAY, 24, 10**6) is None


def test_of_more_events_than_may_be_read_those_of_some_users_are(tmp_path: Path):
    stored = published(tmp_path, events())
    whole, some = (demand.read(stored.known_at(ASOF), ASOF, DAY, 24, most) for most in (10**6, 900))
    assert whole is not None
    assert some is not None
    assert 500 < len(some.second) < 1300
    assert len(np.unique(some.user)) < len(np.unique(whole.user))
    assert demand.forecast(some, END, 86_400, 24) is not None


@pytest.mark.parametrize("what", ["one item", "one instant", "one user"])
def test_awkward_logs_give_a_forecast_or_none(what: str):
    rows = {
        "one item": [(f"u{k}", "x", END - 3600.0 * k) for k in range(200)],
        "one instant": [(f"u{k}", f"i{k % 7}", END - 10.0) for k in range(200)],
        "one user": [("u", f"i{k % 7}", END - 3600.0 * k) for k in range(200)],
    }[what]
    made = demand.forecast(demand.log_of(table(rows)), END, 86_400, 24)
    assert made is None or (np.isfinite(made["expected_demand"].to_numpy()).all())
