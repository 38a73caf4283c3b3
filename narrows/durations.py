"""Durations as settings write them: ``7d``, ``1h``, ``30m``."""

from __future__ import annotations

import re
from datetime import timedelta

UNITS = {"d": "days", "h": "hours", "m": "minutes"}


def parse(text: str) -> timedelta:
    """A number and a unit (d, h, m).

    Raises:
        ValueError: the text is none, or the duration is 0.
    """
    found = re.fullmatch(r"(\d+)([dhm])", text)
    if not found or not int(found[1]):
        raise ValueError(f"{text!r} is not a duration: give a number and a unit, such as 7d, 1h or 30m.")
    return timedelta(**{UNITS[found[2]]: int(found[1])})
