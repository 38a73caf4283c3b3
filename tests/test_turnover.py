"""A first run fits recall as of each window where items do not live long enough for one model."""

from __future__ import annotations

from types import SimpleNamespace

import pyarrow as pa
import pytest

from narrows.asof import Asof
from stages.examples.first_run import _groups, unknown_demand

WINDOWS = [Asof.parse(f"2024-01-0{day}") for day in (1, 2, 3)]


def items(**users: tuple[int, int]) -> pa.Table:
    """Items with their users within 1 and 64 horizons."""
    return pa.table(
        {
            "item_id": list(users),
            "users_1x": pa.array([last for last, _ in users.values()], pa.int32()),
            "users_64x": pa.array([ever for _, ever in users.values()], pa.int32()),
        }
    )


def test_demand_for_items_without_a_user_then_is_unknown_even_if_the_catalogue_had_them():
    oldest = items(a=(3, 3), listed=(0, 0))
    assert unknown_demand(oldest, items(a=(6, 9), listed=(1, 1), new=(3, 3))) == pytest.approx(0.4)
    assert unknown_demand(oldest, items(a=(6, 9))) == 0
    assert unknown_demand(oldest, items(a=(0, 9))) == 0


@pytest.mark.parametrize(("turnover", "fits"), [(0.5, [0]), (0.3, [0, 1, 2])])
def test_recall_is_fitted_as_of_each_window_where_more_is_unknown(turnover, fits):
    tables = {WINDOWS[0]: items(a=(3, 3)), WINDOWS[2]: items(a=(6, 9), new=(4, 4))}

    def published(name: str, asof: Asof) -> SimpleNamespace:
        return SimpleNamespace(arrow=tables[asof].select)

    groups = _groups(SimpleNamespace(published=published), WINDOWS, WINDOWS, turnover)
    assert [asof for asof, _ in groups] == [WINDOWS[k] for k in fits]
    assert [window for _, group in groups for window in group] == WINDOWS
