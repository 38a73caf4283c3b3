"""Durations: what settings write is what is computed with."""

from __future__ import annotations

from datetime import timedelta

import pytest

from narrows import durations


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("7d", timedelta(days=7)),
        ("1h", timedelta(hours=1)),
        ("36h", timedelta(hours=36)),
        ("90m", timedelta(minutes=90)),
    ],
)
def test_parse_and_text_are_inverse(text, length):
    assert durations.parse(text) == length
    assert durations.text(length) == text


def test_text_takes_the_largest_unit():
    assert durations.text(durations.parse("48h")) == "2d"
    assert durations.text(durations.parse("120m")) == "2h"


@pytest.mark.parametrize("text", ["", "7", "d", "0d", "-1d", "1.5h", "1w", "7d ", "1d1h", "1s", "٣d", "9999999999d"])
def test_what_is_no_duration_says_how_one_is_written(text):
    with pytest.raises(ValueError, match=r"is no duration: give a whole number and d, h or m, such as 7d"):
        durations.parse(text)


@pytest.mark.parametrize("length", [timedelta(), timedelta(days=-1), timedelta(seconds=90)])
def test_a_length_without_whole_minutes_has_no_text(length):
    with pytest.raises(ValueError, match="positive whole number of minutes"):
        durations.text(length)
