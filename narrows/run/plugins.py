"""Modules that register what rooms use: pair features, recall channels, rankers."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from narrows.settings import Settings


def modules(settings: Settings) -> tuple[str, ...]:
    """The pipeline's own modules that register something, then the user's."""
    own = [module for room in settings.pipeline.rooms for module in room.registers]
    return tuple(dict.fromkeys((*own, *settings.pipeline_settings.imports)))


def import_all(names: tuple[str, ...], folder: str = "") -> None:
    """Import modules by name; also called in Spark's workers, which are processes of their own."""
    if folder and folder not in sys.path:
        sys.path.append(folder)
    for name in names:
        importlib.import_module(name)
