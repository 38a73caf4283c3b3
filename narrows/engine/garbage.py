"""How often a process of its own looks for cyclic garbage."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

GC_THRESHOLD = 50_000
"""New containers between two looks at the youngest; Python's default is 700."""


@contextmanager
def rarely_collected() -> Iterator[None]:
    """In a process of its own: look for cyclic garbage rarely, and not when the process ends.

    The libraries that rooms import make half a million objects that live until the end. Looking through them time
    and again takes a fifth of their import, and once more a second as the process ends.
    """
    gc.set_threshold(GC_THRESHOLD, 10, 10)
    try:
        yield
    finally:
        gc.freeze()
