"""From the grid of an experiment to its designs: every combination once, each with a short name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from itertools import product
from typing import Any

from narrows.codesign.design import Design

JOINT, SINGLE, TREES = "joint", "single", "lightgbm"
DEFAULT = Design()
OF_TREES = ("trees", "leaves", "tree_learning_rate")


def designs(
    common: Mapping[str, Any], grid: Mapping[str, Sequence[Any]], more: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The settings of every design: all combinations of the grid, and those that are listed one by one.

    Args:
        common: settings of all of them.
        grid: for each setting its values.
        more: settings of further designs.
    """
    crossed = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())] if grid else []
    return [{**common, **each} for each in (*crossed, *more)]


def canonical(design: Design) -> Design:
    """The same cascade with its idle settings at their defaults, so that a grid trains nothing twice.

    The loss is idle unless the scheme is joint; what belongs to trees where there are none; and all of the first
    stage's settings but the final width where a single stage serves.
    """
    idle: dict[str, Any] = {}
    first = _first_stage()
    if design.scheme != JOINT:
        idle |= {"loss": DEFAULT.loss, "quotas": ()}
    if getattr(design, first) != TREES or design.scheme == SINGLE:
        idle |= {name: getattr(DEFAULT, name) for name in OF_TREES}
    if design.scheme == SINGLE:
        last = design.widths[-1]
        idle |= {first: getattr(DEFAULT, first), "hidden": DEFAULT.hidden, "widths": (last,) * len(design.widths)}
    elif getattr(design, first) == TREES:
        idle |= {"hidden": DEFAULT.hidden}
    return replace(design, **idle)


def trained_as(design: Design) -> Design:
    """The design whose training it shares: precision is a matter of serving alone."""
    return replace(design, precision=DEFAULT.precision)


def named(chosen: Sequence[Design]) -> list[str]:
    """A name for each design: the settings in which the designs differ, in the order of the fields."""
    differing = [
        field.name for field in fields(Design) if len({repr(getattr(design, field.name)) for design in chosen}) > 1
    ]
    names = []
    for design in chosen:
        parts = [_words(design, name) for name in differing if not _idle(design, name)]
        names.append(", ".join(parts) or design.scheme)
    return names


def flat(design: Design) -> dict[str, Any]:
    """The settings as JSON values."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(design).items()}


def _first_stage() -> str:
    """The setting that names the first stage's model."""
    return DEFAULT.stages[0]


def _idle(design: Design, name: str) -> bool:
    """Whether a setting says nothing of this design."""
    first = _first_stage()
    if name == "loss":
        return design.scheme != JOINT
    if name in OF_TREES:
        return getattr(design, first) != TREES or design.scheme == SINGLE
    return design.scheme == SINGLE and name in (first, "hidden")


def _words(design: Design, name: str) -> str:
    value = getattr(design, name)
    if design.scheme == SINGLE and name == "widths":
        return f"width {value[-1]}"
    if name in ("scheme", "loss", "precision", *DEFAULT.stages):
        return str(value)
    shown = (
        "-".join(map(str, value))
        if isinstance(value, tuple | list)
        else f"{value:g}"
        if isinstance(value, float)
        else value
    )
    return f"{name.replace('_', ' ')} {shown}"
