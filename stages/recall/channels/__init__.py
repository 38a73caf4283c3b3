"""The built-in channels in the order of their columns, and all channels of a run from their settings.

A channel from outside imports ``Channel`` and ``channel`` from here, so that it comes after the built-in ones.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import fields
from importlib import import_module
from typing import Any

from pydantic import ValidationError

from stages.recall.channel import CHANNELS, Channel, channel

__all__ = ["BUILT_IN", "CHANNELS", "Channel", "build", "channel"]

BUILT_IN = ("own", "popular", "popular_in_group", "item_to_item", "ease", "two_tower")
"""The modules of this package that register a channel or two each."""

for _module in BUILT_IN:
    import_module(f"{__name__}.{_module}")


def build(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, Channel]:
    """Every registered channel with its settings; those with a quota of 0 are left out.

    Args:
        settings: of single channels, by name; a channel that is not there has its defaults.

    Raises:
        ValueError: an unknown channel or key, a wrong value, or no channel with a quota.
    """
    for name in settings:
        if name not in CHANNELS:
            raise ValueError(f"channels.{name}: no such channel. {_hint(name, CHANNELS, 'channels')}")
    channels = {name: _channel(kind, settings.get(name, {})) for name, kind in CHANNELS.items()}
    used = {name: each for name, each in channels.items() if each.quota}
    if not used:
        raise ValueError("channels: every channel has quota = 0; give one of them 1 or more.")
    return used


def _channel(kind: type[Channel], values: Any) -> Channel:
    where = f"channels.{kind.name}"
    if not isinstance(values, Mapping):
        raise ValueError(f"{where} = {values!r}: give a table of settings, such as {{quota = 20}}.")
    try:
        return kind(**values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        if first["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
            known = [field.name for field in fields(kind)]
            raise ValueError(f"{where}.{key}: no such key. {_hint(key, known, 'keys')}") from None
        raise ValueError(f"{where}.{key} = {first['input']!r}: {_remedy(first)}.") from None


def _hint(name: str, known: Collection[str], what: str) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"Did you mean {near[0]!r}?" if near else f"The {what} are: {', '.join(known)}."


def _remedy(error: Any) -> str:
    bounds, kind = error.get("ctx", {}), error["type"]
    if kind == "greater_than_equal":
        return f"give {bounds['ge']} or more"
    if kind == "greater_than":
        return f"give a number above {bounds['gt']}"
    if kind == "literal_error":
        return f"give {bounds['expected']}"
    words = {"int": "a whole number", "float": "a number", "bool": "true or false", "string": "text"}
    return f"give {words.get(kind.split('_')[0], error['msg'])}"
