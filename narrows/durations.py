"""Lengths of time as settings write them: a whole number and a unit, ``7d``, ``1h`` or ``30m``."""

from __future__ import annotations

import re
from datetime import timedelta

UNITS = {"d": timedelta(days=1), "h": timedelta(hours=1), "m": timedelta(minutes=1)}
"""Longest first."""
PATTERN = rf"[1-9][0-9]{{0,8}}[{''.join(UNITS)}]"
"""Nine digits fit every unit into a ``timedelta``."""


def parse(text: str) -> timedelta:
    """The length that ``text`` names.

    Raises:
        ValueError: no positive whole number of days (d), hours (h) or minutes (m); the message has the remedy.
    """
    if not re.fullmatch(PATTERN, text):
        raise ValueError(f"{text!r} is no duration: give a whole number and d, h or m, such as 7d, 1h or 30m.")
    return int(text[:-1]) * UNITS[text[-1]]


def text(length: timedelta) -> str:
    """``length`` in the largest unit that divides it: ``7d``, ``36h``, ``90m``.

    Raises:
        ValueError: not a positive whole number of minutes.
    """
    for unit, one in UNITS.items():
        if length > timedelta() and not length % one:
            return f"{length // one}{unit}"
    raise ValueError(f"{length} is not a positive whole number of minutes.")


def in_words(length: timedelta) -> str:
    """``7 days``, ``1 hour``, ``30 minutes``."""
    short = text(length)
    count, unit = int(short[:-1]), {"d": "day", "h": "hour", "m": "minute"}[short[-1]]
    return f"{count} {unit}{'s' * (count != 1)}"
