"""The built-in channels in the order of their columns, and all channels of a run from their settings.

A channel from outside imports ``Channel`` and ``channel`` from here, so that it comes after the built-in ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from narrows.config.constraints import unknown
from narrows.config.refusal import Refusal, validated
from stages.recall.channel import CHANNELS, Channel, channel

__all__ = ["BUILT_IN", "CHANNELS", "Channel", "build", "channel"]

BUILT_IN = ("own", "popular", "popular_in_group", "item_to_item", "ease", "two_tower", "viewed", "new_items")
"""The modules of this package that register a channel or two each."""

for _module in BUILT_IN:
    import_module(f"{__name__}.{_module}")


def build(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, Channel]:
    """Every registered channel with its settings; those with a quota of 0 are left out.

    Args:
        settings: of single channels, by name; a channel that is not there has its defaults.

    Raises:
        Refusal: an unknown channel or key, a wrong value, or no channel with a quota; a ValueError.
    """
    for name in settings:
        if name not in CHANNELS:
            raise Refusal(("channels", name), unknown(name, CHANNELS, "channel"), of_table=True)
    channels = {name: validated(kind, settings.get(name, {}), ("channels", name)) for name, kind in CHANNELS.items()}
    used = {name: each for name, each in channels.items() if each.quota}
    if not used:
        raise Refusal(("channels",), ": every channel has quota = 0; give one of them 1 or more.")
    return used
