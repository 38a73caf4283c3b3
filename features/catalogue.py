"""The feature catalogue: every definition, read off the code."""

from __future__ import annotations

import inspect
from types import ModuleType


def markdown() -> str:
    """All features by table, each with its definition."""
    from features import history, item, pair, user

    lines = [
        "# Features",
        "",
        "Made by `narrows catalogue` from the docstrings in `features/`; a test holds the two equal.",
        "",
    ]
    for title, module, made in (
        ("User", user, user.FEATURES),
        ("User, by thing (lists)", history, history.FEATURES),
        ("Item", item, (*item.BY_EVENT, *item.BY_USER)),
        ("Pair of a user and an item", pair, tuple(pair.FEATURES.values())),
    ):
        lines += [f"## {title}", "", _about(module), "", "| feature | definition |", "|---|---|"]
        lines += [f"| `{feature.__name__}` | {' '.join(inspect.getdoc(feature).split())} |" for feature in made]  # type: ignore[union-attr]
        lines.append("")
    return "\n".join(lines)


def _about(module: ModuleType) -> str:
    return " ".join((inspect.getdoc(module) or "").split())
