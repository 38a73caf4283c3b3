"""Which lists a report shows: those that hold anything, and of a family of channels the best one."""

from __future__ import annotations

from collections.abc import Sequence

from features.ladder import NAMES
from narrows.cli.layout import Row


def family(each: Row) -> str:
    """What a channel is called without its step of the ladder, ``popular`` of ``popular_4x``; empty where it has none."""
    name, _, step = each["list"].rpartition("_")
    return name if each["kind"] == "channel" and step in NAMES else ""


def proposes(each: Row) -> bool:
    """Whether a list holds any item: a channel without the events that it needs has none."""
    return each["kind"] != "channel" or each.get("coverage", {}).get("value") != 0


def silent(lists: Sequence[Row]) -> list[str]:
    """The channels that proposed nothing."""
    return [each["list"] for each in lists if not proposes(each)]


def folded(lists: Sequence[Row]) -> list[tuple[Row, int]]:
    """The lists that hold anything, in order, each with how many it stands for.

    The channels of a family are one: the one with the highest NDCG, where the first of them stood.
    """
    families: dict[str, list[Row]] = {}
    for each in filter(proposes, lists):
        families.setdefault(family(each) or f"{each['kind']} {each['list']}", []).append(each)
    return [(max(each, key=lambda one: one["ndcg"]["value"] or 0.0), len(each)) for each in families.values()]
