"""What columns, times and rhythms of somebody's files are taken for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from narrows.source import guess
from narrows.source.rhythm import Rhythm, guessed_horizon, rhythm
from narrows.source.times import written as written_times

START = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"user_id": "", "item_id": ""}, {"user_id": "user_id", "item_id": "item_id"}),
        ({"user_session": "", "user_id": "", "product_id": ""}, {"user_id": "user_id", "item_id": "product_id", "session_id": "user_session"}),
        ({"reviewerID": "", "asin": ""}, {"user_id": "reviewerID", "item_id": "asin"}),
        ({"movieId": "", "userId": ""}, {"user_id": "userId", "item_id": "movieId"}),
        ({"fullVisitorId": "", "productSKU": ""}, {"user_id": "fullVisitorId", "item_id": "productSKU"}),
    ],
)  # fmt: skip
def test_names_that_people_use(columns, expected):
    sample = pl.DataFrame({name: [f"{name}{n % 7}" for n in range(20)] for name in columns})
    assert {ours: each.column for ours, each in guess.of_events(sample).found.items()} == expected


@pytest.mark.parametrize(
    ("column", "values", "is_taken"),
    [
        ("published_at", ["2024-01-01T10:00:00", None], True), ("created_at", [1704100000], True),
        ("releaseDate", ["19980412"], True), ("added", ["yes", "no"], False), ("year", ["1998"], False),
    ],
)  # fmt: skip
def test_since_when_an_item_is_available(column, values, is_taken):
    sample = pl.DataFrame(
        {"item_id": [f"i{n}" for n in range(20)], column: [values[n % len(values)] for n in range(20)]}
    )
    found = guess.of_items(sample, "item_id").found
    assert (
        {ours: each.column for ours, each in found.items()} == {"item_id": "item_id", "available_at": column}
    ) is is_taken
    assert is_taken or set(found) == {"item_id"}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (["2024-01-01T10:00:00"], "ISO 8601"), (["20240102"], "days such as 20240102"), ([1704100000], "seconds since 1970"),
        (["1704100000000"], "milliseconds since 1970"), ([START], "a column of timestamps"), (["12:30"], None), ([17], None), (["x"], None),
    ],
)  # fmt: skip
def test_how_times_are_written(values, words):
    found = written_times(pl.Series("at", values))
    assert (found.words.startswith(words) if found else None) == (words and True)


def seen(days: float, gap_hours: float | None, age_hours: float, events: int = 1_000_000) -> Rhythm:
    gap = timedelta(hours=gap_hours) if gap_hours else None
    return Rhythm(events, 1000, 1000, 0, days * 86400, gap, 0.9, timedelta(hours=age_hours))


@pytest.mark.parametrize(
    ("given", "horizon", "says"),
    [
        (seen(365, 24 * 6, 24 * 150), "7 days, 0:00:00", "back: 7 days"),
        (seen(365, 20, 24 * 150), "1 day, 0:00:00", "back: 1 day"),
        (seen(365, 24 * 40, 24 * 150), "28 days, 0:00:00", "28 days"),
        (seen(30, 30, 5), "1:00:00", "Items get old fast"),
        (seen(30, 30, 30), "1 day, 0:00:00", "grain = \"hour\""),
        (seen(30, 30, 5, events=1000), "1 day, 0:00:00", "Items get old fast"),
        (seen(21, 24 * 6, 24 * 9), "1 day, 0:00:00", "fewer than 6 such horizons: 1 day"),
        (seen(365, None, 24 * 150), "7 days, 0:00:00", "7 days is the default"),
        (seen(0.1, 2, 1), "1:00:00", "needs four horizons"),
    ],
)  # fmt: skip
def test_the_horizon_follows_from_visits_and_ages(given, horizon, says):
    found, why = guessed_horizon(given)
    assert (str(found), says in " ".join(why)) == (horizon, True), why


def test_the_rhythm_of_visits():
    """Two events within half an hour are one visit; the median is over users."""
    at = [0, 600, 86400, 0, 7 * 86400, 14 * 86400, 5]
    found = rhythm(pl.DataFrame({"user": list("aaabbbc"), "item": list("xyxxyxz"), "at": [float(n) for n in at]}))
    assert found.gap == timedelta(seconds=(86400 - 600 + 7 * 86400) / 2)
    assert (found.events, found.users, found.items, found.returning) == (7, 3, 3, pytest.approx(2 / 3))
