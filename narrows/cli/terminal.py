"""What a terminal that cannot print every character gets: the nearest of those that it can."""

from __future__ import annotations

import codecs
from typing import TextIO

PLAIN = {"█": "#", "░": ".", "─": "-", "━": "-", "·": "|", "…": "...", "→": "->", "±": "+/-", "–": "-", "—": "-"}
HANDLER = "narrows.plain"


def degrade(stream: TextIO) -> None:
    """Let a stream print what its encoding lacks in plain characters, or as ``?``, in place of failing."""
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors=HANDLER)


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = "".join(PLAIN.get(character, "?") for character in error.object[error.start : error.end])
    return text, error.end


codecs.register_error(HANDLER, _plain)
