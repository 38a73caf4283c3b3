"""The design of a run: the settings that decide what is made, where they differ from the defaults."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from narrows.settings import Settings

LONGEST = 80
"""Characters of a design's name."""
DEFAULTS = "defaults"
"""The name of the design that changes nothing."""


def design_of(settings: Settings) -> dict[str, Any]:
    """The settings of rooms, and of the section ``[pipeline]``, that differ from the defaults, by dotted name.

    A table within a setting is one entry a key: ``{"rank.n": 40, "recall.channels.ease.n": 50}``.
    """
    sections: dict[str, Any] = {"pipeline": settings.pipeline_settings, **settings.rooms}
    differ: dict[str, Any] = {}
    for section, value in sections.items():
        default = type(value)()
        for each in fields(value):
            differ |= _differences(f"{section}.{each.name}", getattr(value, each.name), getattr(default, each.name))
    return differ


def design_name(design: dict[str, Any]) -> str:
    """What to call a design: ``defaults``, or ``rank.n=40 prerank.n=80``, cut where it is long."""
    text = " ".join(f"{name}={value}" for name, value in design.items()) or DEFAULTS
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _differences(name: str, value: Any, default: Any) -> dict[str, Any]:
    if value == default:
        return {}
    if isinstance(value, dict) and value:
        before = default if isinstance(default, dict) else {}
        parts = [_differences(f"{name}.{key}", each, before.get(key)) for key, each in value.items()]
        return {key: each for part in parts for key, each in part.items()}
    return {name: value}
