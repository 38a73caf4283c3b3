"""What the codes in the columns ``reason`` mean: ``reasons.yml`` beside each room's code.

    kept:
      pinned: the policy pins it to this place
    removed:
      prerank_cut: not among the best by prerank's score
    registered: stages.recall.channels:CHANNELS

All three keys are optional. ``kept`` are the codes that a published list shows, ``removed`` those of what a room took out;
a code may carry details after a colon (``policy:cap:dairy``). ``registered`` names a mapping whose values have a
``reason`` and a ``meaning`` each: plug-ins, whose codes join ``kept``.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

KEYS = ("kept", "removed", "registered")


class ReasonsError(ValueError):
    """A reasons.yml that cannot be used; the message names the file and the key."""


@dataclass(frozen=True)
class Reasons:
    """Codes with their meanings, each a clause after "the item is (not) there because"."""

    kept: dict[str, str] = field(default_factory=dict)
    removed: dict[str, str] = field(default_factory=dict)

    def meaning(self, reason: str | None) -> str:
        """What a code means, its details left aside; empty where no room says so."""
        known = self.removed | self.kept
        parts = (reason or "").split(":")
        codes = [":".join(parts[:length]) for length in range(len(parts), 0, -1)]
        return next((known[code] for code in codes if code in known), "")


def of_rooms(rooms: Iterable[type[Any]]) -> Reasons:
    """The codes of all rooms; where two say one code, the first one's meaning counts.

    Raises:
        ReasonsError: a file cannot be used.
    """
    reasons = Reasons()
    for one in map(of_room, rooms):
        for codes, more in ((reasons.kept, one.kept), (reasons.removed, one.removed)):
            codes.update({code: text for code, text in more.items() if code not in codes})
    return reasons


def of_room(room: type[Any]) -> Reasons:
    """The codes of one room; none where it has no file."""
    path = reasons_file(room)
    if not path.exists():
        return Reasons()
    import yaml

    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as error:
        raise ReasonsError(f"{path} is not YAML: {error}") from None
    if not isinstance(raw, dict) or set(raw) - set(KEYS):
        raise ReasonsError(f"{path}: the keys must be of {', '.join(KEYS)}")
    codes: dict[str, dict[str, str]] = {}
    for key in ("kept", "removed"):
        codes[key] = raw.get(key) or {}
        texts = codes[key].values() if isinstance(codes[key], dict) else [None]
        if not all(isinstance(text, str) and text for text in texts):
            raise ReasonsError(f"{path}: `{key}` must give each code a text, like `pinned: the policy pins it`")
    kept = dict(codes["kept"])
    for plugin in resolve_name(raw["registered"]).values() if "registered" in raw else ():
        kept.setdefault(plugin.reason, plugin.meaning)
    return Reasons(kept, codes["removed"])


def reasons_file(room: type[Any]) -> Path:
    """``reasons.yml`` in the folder of a room that is a package of its own, ``<room>.reasons.yml`` beside it else."""
    module = Path(inspect.getfile(room))
    return module.parent / ("reasons.yml" if module.name == "__init__.py" else f"{room.name}.reasons.yml")
