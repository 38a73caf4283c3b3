"""Modules of somebody else's package, as the pages docs/add-a-*.md show them: written, imported, and forgotten after."""

from __future__ import annotations

import importlib
import re
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).parents[1]


def shown(page: str, language: str) -> str:
    """The first code block of a language on a page of docs/."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    match = re.search(rf"^ *```{language}\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    assert match
    return textwrap.dedent(match[1])


@contextmanager
def forgotten(*registries: dict[str, Any]) -> Iterator[None]:
    """Afterwards put back the registries and the path, and forget the packages ``my_*`` that were imported."""
    path, before = list(sys.path), [dict(registry) for registry in registries]
    try:
        yield
    finally:
        sys.path[:] = path
        for name in [name for name in sys.modules if name.startswith("my_")]:
            del sys.modules[name]
        for registry, content in zip(registries, before, strict=True):
            registry.clear()
            registry.update(content)


def written(folder: Path, name: str, source: str) -> Path:
    """The file of the module `name` (``package.module``) with this source, below a folder."""
    file = folder.joinpath(*name.split(".")).with_suffix(".py")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(source)
    return file


@contextmanager
def imported(folder: Path, name: str, source: str, *registries: dict[str, Any]) -> Iterator[ModuleType]:
    """Import `source` as the module `name` (``my_package.module``) from a folder, and forget it afterwards."""
    written(folder, name, source)
    with forgotten(*registries):
        sys.path.insert(0, str(folder))
        yield importlib.import_module(name)
