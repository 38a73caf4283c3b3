"""Modules of somebody else's package, as the pages docs/add-a-*.md show them: written, imported, and forgotten after."""

from __future__ import annotations

import importlib
import re
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def shown(page: str, language: str) -> str:
    """The first code block of a language on a page of docs/."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    match = re.search(rf"^ *```{language}\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    assert match
    return textwrap.dedent(match[1])


@contextmanager
def imported(folder: Path, name: str, source: str, *registries: dict[str, Any]) -> Iterator[None]:
    """Import `source` as the module `name` (``package.module``) from a folder; then put path and registries back."""
    package, module = name.split(".")
    (folder / package).mkdir()
    (folder / package / f"{module}.py").write_text(source)
    before = [dict(registry) for registry in registries]
    sys.path.insert(0, str(folder))
    try:
        importlib.import_module(name)
        yield
    finally:
        sys.path.remove(str(folder))
        for loaded in (name, package):
            sys.modules.pop(loaded, None)
        for registry, content in zip(registries, before, strict=True):
            registry.clear()
            registry.update(content)
