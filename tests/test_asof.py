"""The as-of of any grain: parse, print, order, arithmetic; texts of one grain sort as their instants do."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from narrows.asof import DAY, HOUR, Asof, start_of

HALF_HOUR = timedelta(minutes=30)
grains = st.sampled_from([DAY, HOUR, 6 * HOUR, HALF_HOUR, timedelta(minutes=1)])
periods = st.integers(0, 20_000)


@pytest.mark.parametrize(
    ("text", "grain", "end", "printed"),
    [
        ("2017-12-01", DAY, datetime(2017, 12, 2), "2017-12-01"),
        ("2017-12-01T13", HOUR, datetime(2017, 12, 1, 14), "2017-12-01T13"),
        ("2017-12-01", HOUR, datetime(2017, 12, 2), "2017-12-01T23"),
        ("2017-12-01T12", 6 * HOUR, datetime(2017, 12, 1, 18), "2017-12-01T12"),
        ("2017-12-01T1330", HALF_HOUR, datetime(2017, 12, 1, 14), "2017-12-01T1330"),
        ("2017-12-01T13:00", HALF_HOUR, datetime(2017, 12, 1, 13, 30), "2017-12-01T1300"),
        ("2017-12-01T13", HALF_HOUR, datetime(2017, 12, 1, 14), "2017-12-01T1330"),
    ],
)
def test_a_period_is_known_to_its_end(text, grain, end, printed):
    asof = Asof.parse(text, grain)
    assert asof.end == end.replace(tzinfo=UTC)
    assert str(asof) == printed
    assert asof.end - start_of(printed) == grain


@pytest.mark.parametrize(
    ("text", "grain", "example"),
    [
        ("yesterday", DAY, "YYYY-MM-DD"), ("2017-13-01", DAY, "YYYY-MM-DD"), ("2017-12-01T13", DAY, "YYYY-MM-DD"),
        ("2017-12-01T25", HOUR, "YYYY-MM-DDTHH"), ("2017-12-01T1330", HOUR, "YYYY-MM-DDTHH"),
        ("2017-12-01T13", 6 * HOUR, "YYYY-MM-DDTHH"), ("2017-12-01T1310", HALF_HOUR, "YYYY-MM-DDTHHMM"),
    ],
)  # fmt: skip
def test_what_is_no_period_says_how_to_write_one(text, grain, example):
    with pytest.raises(ValueError, match=f"{text}.*give it as {example}$"):
        Asof.parse(text, grain)


@given(periods, periods, grains)
def test_text_number_and_instant_order_alike_and_come_back(one, other, grain):
    a, b = Asof.of_period(one, grain), Asof.of_period(other, grain)
    assert (a < b) == (str(a) < str(b)) == (one < other) == (a.end < b.end)
    assert Asof.parse(str(a), grain) == a
    assert a.period == one
    assert a - b == (one - other) * grain
    assert b + (a - b) == a
    assert a - (a - b) == b


def test_the_day_of_an_asof_is_that_of_its_last_known_instant():
    assert Asof.parse("2017-12-01").day == date(2017, 12, 1)
    assert Asof.parse("2017-12-01T23", HOUR).day == date(2017, 12, 1)
    assert Asof.parse("2017-12-01T00", HOUR).day == date(2017, 12, 1)


def test_an_asof_is_a_frozen_value():
    asof = Asof.parse("2017-12-01")
    assert {asof: 1}[Asof.parse("2017-12-01")] == 1
    with pytest.raises(AttributeError):
        asof.end = datetime(2020, 1, 1, tzinfo=UTC)
