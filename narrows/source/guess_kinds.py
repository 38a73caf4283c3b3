"""What event types mean: a guess from their names, for `narrows init` to say and to write down."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from narrows.kinds import CONTEXT, EXPOSURE, KINDS, POSITIVE, UNDO

EXPOSED = re.compile(r"impress|expos|shown|display|served")
UNDONE = re.compile(r"return|refund|cancel|chargeback|unlike|unsubscribe|unfollow")
LOOKED = re.compile(r"cart|basket|wish|view|browse|detail|hover|search|skip|dislike|open")
CLICKED = re.compile(r"click|tap")
TAKEN = re.compile(
    r"purchas|buy|bought|order|transact|sale|checkout|paid|payment|convers|book|subscri|download|rat(e|ing)|review|like|"
    r"favou?rit|play|watch|listen|read|complet|follow|save|stream"
)


def guessed_kinds(types: Sequence[str]) -> tuple[dict[str, list[str]], list[str]]:
    """The event types by kind, and those whose names say nothing, which are then context.

    What a user takes is the positive; where nothing is taken, a click is, and where nothing is clicked, a view. No kinds
    for fewer than two types, or where no positive is to be seen.
    """
    kind_of = {name: _kind(name.lower()) for name in types}
    if len(kind_of) < 2:
        return {}, []
    for pattern in (CLICKED, re.compile("cart|basket"), re.compile("view|open|detail")):
        if POSITIVE not in kind_of.values():
            kind_of |= {name: POSITIVE for name in types if kind_of[name] == CONTEXT and pattern.search(name.lower())}
    if POSITIVE not in kind_of.values():
        return {}, []
    unsure = [name for name in types if not kind_of[name]]
    lists = {kind: [name for name in types if (kind_of[name] or CONTEXT) == kind] for kind in KINDS}
    return {kind: names for kind, names in lists.items() if names}, unsure


def _kind(name: str) -> str:
    """The kind of a type by its name, empty where it says nothing."""
    for pattern, kind in (
        (EXPOSED, EXPOSURE),
        (UNDONE, UNDO),
        (LOOKED, CONTEXT),
        (TAKEN, POSITIVE),
        (CLICKED, CONTEXT),
    ):
        if pattern.search(name):
            return kind
    return ""


def in_words(kinds: Mapping[str, Sequence[str]]) -> str:
    """``purchase positive; view, cart context``."""
    return "; ".join(f"{', '.join(names)} {kind}" for kind, names in kinds.items())
