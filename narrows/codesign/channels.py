"""Quotas of recall channels: which of a log's candidates a design gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from narrows.codesign.errors import CodesignError
from narrows.codesign.log import Array, FlowLog

OTHERS, EACH = "others", "each"
"""In quotas: all channels that are not named; in an experiment's file, each channel in turn, one design a channel."""
Quotas = tuple[tuple[str, int], ...]
"""The name of a channel, and how many of its best candidates it gives; 0 = it is not asked."""


class ChannelError(CodesignError):
    """Quotas that do not fit a log."""


def quotas_of(given: Any) -> Any:
    """A table of TOML, ``{ popular = 20 }``, as pairs; what is no table is left to the check of types."""
    return tuple(given.items()) if isinstance(given, Mapping) else given


def limits(channels: Sequence[str], quotas: Quotas) -> dict[str, int | None]:
    """For every channel of a log how many candidates it gives; None = all that the log has.

    Raises:
        ChannelError: the log has no channel of a name.
    """
    given = dict(quotas)
    others = given.pop(OTHERS, None)
    if unknown := [name for name in given if name not in channels]:
        raise ChannelError(unknown_channel(unknown[0], channels))
    return {name: given.get(name, others) for name in channels}


def unknown_channel(name: str, channels: Sequence[str]) -> str:
    """What is said of a channel that a log has not."""
    there = f"there are {', '.join(channels)}." if channels else "it does not say which channel gave a candidate."
    return f"the log has no channel {name!r}: {there}"


def offered(log: FlowLog, quotas: Quotas) -> Array | None:
    """Which candidates come to the first stage: bool [rows]; None = all.

    A candidate comes where some channel ranks it within its quota.

    Raises:
        ChannelError: the log does not know such a channel, or nothing is left.
    """
    if not quotas:
        return None
    if log.channel_rank is None:
        raise ChannelError("channels: the log does not say which recall channel gave a candidate: write a new one")
    most = np.array(
        [np.iinfo(np.int32).max if each is None else each for each in limits(log.channels, quotas).values()]
    )
    found = ((log.channel_rank > 0) & (log.channel_rank <= most)).any(1)
    if not found.any():
        raise ChannelError(f"channels = {dict(quotas)} leave no candidate: raise one")
    return np.asarray(found)


def each_in_turn(settings: Mapping[str, Any], channels: Sequence[str]) -> list[dict[str, Any]]:
    """Settings of designs: those given, or where their channels name ``each`` one for every channel of the log.

    Raises:
        ChannelError: the channels of the log are not known yet.
    """
    quotas = settings.get("channels")
    if not isinstance(quotas, Mapping) or EACH not in quotas:
        return [dict(settings)]
    if not channels:
        raise ChannelError(
            "'each' needs a log that knows its channels: give a folder that `narrows codesign log` wrote."
        )
    rest = {name: quota for name, quota in quotas.items() if name != EACH}
    return [{**settings, "channels": {**rest, name: quotas[EACH]}} for name in channels]
