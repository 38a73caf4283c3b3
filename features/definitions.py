"""The page docs/features.md: every feature with its definition, from the docstrings."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from types import ModuleType
from typing import Any


def markdown() -> str:
    """All features by table, each with its definition, as Markdown."""
    lines = [
        "# Features",
        "",
        "Made by `narrows catalogue` from the docstrings in `features/`; a test holds the two equal.",
        "",
    ]
    for title, module, features in _tables():
        lines += [f"## {title}", "", _words(module), "", "| feature | definition |", "|---|---|"]
        lines += [f"| `{feature.__name__}` | {_words(feature)} |" for feature in features]
        lines.append("")
    return "\n".join(lines)


def rows() -> list[dict[str, str]]:
    """The same as JSON values: table, feature, definition."""
    return [
        {"table": title, "feature": feature.__name__, "definition": _words(feature)}
        for title, _, features in _tables()
        for feature in features
    ]


def _tables() -> Iterable[tuple[str, ModuleType, Iterable[Any]]]:
    from features import history, item, pair, user, viewed

    return (
        ("User", user, user.FEATURES),
        ("User, by item, category, subcategory and brand (lists)", history, history.FEATURES),
        ("Of what users looked at", viewed, (*viewed.BY_ITEM, *viewed.OF_ITEM)),
        ("Item", item, (*item.OF_TABLE, *item.BY_EVENT, *item.BY_USER)),
        ("Pair of a user and an item", pair, tuple(pair.FEATURES.values())),
    )


def _words(documented: Any) -> str:
    return " ".join((inspect.getdoc(documented) or "").split())
