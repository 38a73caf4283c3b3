"""The world is what its page says."""

from datetime import timedelta

import pyarrow.compute as pc

from tests import world


def test_the_certain_kinds_are_bought_as_promised():
    table = world.events()
    for week in (5, 14):
        day = world.FIRST_MONDAY + timedelta(days=7 * week)
        rows = table.filter(pc.equal(pc.cast(table["at"], "date32"), day.date()))
        for household in (0, 17, 79):
            basket = set(rows.filter(pc.equal(rows["household"], f"h{household}"))["product"].to_pylist())
            certain = world.staples(household) | world.fortnightlies(household, week) | world.companion(household, week)
            assert certain <= basket
            assert (world.hit(week) in basket) == (household % 4 != 0)
            assert not basket & (world.fortnightlies(household, week + 1) - certain)


def test_the_truth_lies_after_the_asof():
    days = pc.cast(world.events()["at"], "date32").unique().to_pylist()
    assert world.ASOF.day not in days
    assert min(day for day in days if day > world.ASOF.day) == (world.ASOF + timedelta(days=1)).day
