"""From the grid of an experiment to its designs: every combination once, each with a short name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from itertools import product
from typing import Any

from narrows.codesign.design import LAYERS, STAGES, Design

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

    The loss is idle unless the scheme is joint; what belongs to trees where there are none; the model and the layers of a
    stage that does not serve; and all widths but the last where a single stage does.
    """
    idle: dict[str, Any] = {name: getattr(DEFAULT, name) for name in _idle(design)}
    if design.scheme == SINGLE:
        idle["widths"] = design.widths[-1:] * len(DEFAULT.widths)
    return replace(design, **idle)


def trained_as(design: Design) -> Design:
    """The design whose training it shares: precision is a matter of serving alone."""
    return replace(design, precision=DEFAULT.precision)


def differing(chosen: Sequence[Design]) -> list[str]:
    """The settings in which designs differ, in the order of the fields; a stage's layers count among those that have it."""
    idle = [_idle(design) for design in chosen]
    layers = set(LAYERS.values())
    said = {
        field.name: {
            repr(getattr(design, field.name))
            for design, no in zip(chosen, idle, strict=True)
            if field.name not in no & layers
        }
        for field in fields(Design)
    }
    return [name for name, values in said.items() if len(values) > 1]


def named(chosen: Sequence[Design]) -> list[str]:
    """A name for each design: the settings in which the designs differ, but for those that say nothing of it."""
    settings = differing(chosen)
    names = []
    for design in chosen:
        no = _idle(design)
        names.append(", ".join(_words(design, name) for name in settings if name not in no) or design.scheme)
    return names


def flat(design: Design) -> dict[str, Any]:
    """The settings as JSON values."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(design).items()}


def _idle(design: Design) -> set[str]:
    """The settings that say nothing of this design."""
    served = {stage: getattr(design, stage) for stage in design.stages}
    idle = set() if design.scheme == JOINT else {"loss", "quotas"}
    idle |= set() if design.scheme == SINGLE else {"cost"}
    idle |= set() if TREES in served.values() else set(OF_TREES)
    for stage in STAGES:
        if stage not in served:
            idle |= {stage, LAYERS[stage]}
        elif served[stage] == TREES:
            idle.add(LAYERS[stage])
    return idle


def _words(design: Design, name: str) -> str:
    value = getattr(design, name)
    if design.scheme == SINGLE and name == "widths":
        return f"width {value[-1]}"
    if name == "channels":
        return " + ".join(f"{each} {quota}" for each, quota in value) or "all candidates"
    if name == "cost":
        return "at equal cost" if value == "equal" else "at its own cost"
    if name in ("scheme", "loss", "precision", *STAGES):
        return str(value)
    shown = (
        "-".join(map(str, value))
        if isinstance(value, tuple | list)
        else f"{value:g}"
        if isinstance(value, float)
        else value
    )
    return f"{name.replace('_', ' ')} {shown}"
