"""The page docs/features.md: every feature with its definition, from the docstrings."""

from __future__ import annotations

import inspect
from types import ModuleType


def markdown() -> str:
    """All features by table, each with its definition, as Markdown."""
    from features import history, item, pair, user

    lines = [
        "# Features",
        "",
        "Made by `narrows catalogue` from the docstrings in `features/`; a test holds the two equal.",
        "",
    ]
    for title, module, features in (
        ("User", user, user.FEATURES),
        ("User, by item, category, subcategory and brand (lists)", history, history.FEATURES),
        ("Item", item, (*item.BY_EVENT, *item.BY_USER)),
        ("Pair of a user and an item", pair, tuple(pair.FEATURES.values())),
    ):
        lines += [f"## {title}", "", _about(module), "", "| feature | definition |", "|---|---|"]
        lines += [f"| `{feature.__name__}` | {' '.join(inspect.getdoc(feature).split())} |" for feature in features]  # type: ignore[union-attr]
        lines.append("")
    return "\n".join(lines)


def _about(module: ModuleType) -> str:
    return " ".join((inspect.getdoc(module) or "").split())
