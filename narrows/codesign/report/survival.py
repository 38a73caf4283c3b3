"""Where what is wanted goes: by the labels for each stage, and in a generated world by the value of the list."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from markupsafe import Markup

from narrows.codesign.design import STAGES
from narrows.codesign.evaluate import CHANNELS
from narrows.codesign.summary import Row, Summary
from narrows.markup import section, table, together
from narrows.markup.drawing import bar, figure, line, linear, percent, text, ticks

LEFT, RIGHT, TOP, STEP, HEIGHT = 250.0, 640.0, 48.0, 26.0, 16.0
MOST = 12
"""Designs that are drawn; the table has all."""
KINDS = dict(zip((*reversed(STAGES), CHANNELS), ("lost", "other", "band", "good"), strict=True))
"""Of what each stage loses, the last one first, and the quotas of channels."""
CANDIDATES = "plain"
MEANINGS = {
    "main": "kept",
    "lost": "lost by the last stage",
    "other": "by the one before",
    "band": "by the first of three",
    "good": "by the channels' quotas",
    CANDIDATES: "by the candidates",
}
Levels = list[tuple[str, float]]
"""Kinds and amounts, what is kept first."""


def survival(summary: Summary) -> Markup:
    """The part of the page."""
    figures = [_labels(summary)]
    if "value" in summary.rows[0].metrics:
        figures.append(_value(summary))
    return section("survival", "What each stage loses", together(figures))


def _labels(summary: Summary) -> Markup:
    shown = [(row, _falls(row)) for row in _best(summary)]
    drawing = _bars(
        "of what is wanted among the candidates",
        [(row.name, levels) for row, levels in shown],
        lambda share: percent(share),
    )
    what = (
        "Each bar is what is wanted among the candidates of a design. Blue is what the whole cascade keeps; the parts at its right, "
        "from left to right, are what its stages lose, the last stage first. The number is the part that is kept."
    )
    rows = []
    for row in summary.rows:
        parts = [
            f"{name} {'keeps' if name in row.stages else 'keep'} {percent(row.metrics[f'survival_{name}'])} of what comes"
            for name in _losing(row)
        ]
        rows.append(
            (
                row.name,
                percent(_falls(row)[0][1]),
                "; ".join(parts),
                f"{row.metrics['joint_recall']:.4f}",
                f"{row.metrics['ndcg']:.4f}",
            )
        )
    numbers = table(
        "Survival of what is wanted",
        ["design", "kept in the end", "stage by stage", "joint recall", "NDCG"],
        rows,
        (1, 3, 4),
    )
    return figure("survival-drawing", "What is wanted and survives", what, drawing[0], drawing[1], numbers)


def _value(summary: Summary) -> Markup:
    shown = [(row.name, _regrets(row)) for row in _best(summary)]
    drawing = _bars("expected positives of a list", shown, lambda value: f"{value:.3f}")
    what = (
        "By the truth of the generated world: a bar is the best list of the whole catalogue. Blue is what the design's list is "
        "worth; at its right what is lost in the last stage, in the stages before it, and last for want of better candidates."
    )
    every = {name for row in summary.rows for name in _losing(row)}
    kinds = [*(kind for name, kind in KINDS.items() if name in every), CANDIDATES]
    rows = [
        (
            row.name,
            f"{row.metrics['value']:.4f}",
            *_amounts(_regrets(row), kinds),
            f"{row.metrics['oracle_share']:.1%}",
        )
        for row in summary.rows
    ]
    header = ["design", "value", *(MEANINGS[kind] for kind in kinds), "of the candidates' best list"]
    numbers = table("Value and regret", header, rows, tuple(range(1, len(header))))
    return figure(
        "value-drawing", "What a list is worth, and who loses the rest", what, drawing[0], drawing[1], numbers
    )


def _falls(row: Row) -> Levels:
    """What is kept in the end, then what each stage loses, the last stage first; they sum to 1."""
    left, lost = 1.0, []
    for name in _losing(row):
        kept = left * row.metrics[f"survival_{name}"]
        lost.append((KINDS[name], left - kept))
        left = kept
    return [("main", left), *reversed(lost)]


def _regrets(row: Row) -> Levels:
    """The value, then what each stage loses, the last first, and what the candidates lack."""
    metrics = row.metrics
    lost = [(KINDS[name], max(0.0, metrics[f"regret_{name}"])) for name in reversed(_losing(row))]
    return [("main", metrics["value"]), *lost, (CANDIDATES, max(0.0, metrics.get("regret_candidates", 0.0)))]


def _losing(row: Row) -> tuple[str, ...]:
    """Who loses something, in the order of the cascade: the quotas of channels, where there are any, and the stages."""
    return (*((CHANNELS,) if f"survival_{CHANNELS}" in row.metrics else ()), *row.stages)


def _amounts(levels: Levels, kinds: Sequence[str]) -> list[str]:
    """What is lost of each kind; nothing where a design has no such stage."""
    lost = dict(levels[1:])
    return [f"{lost[kind]:.4f}" if kind in lost else "" for kind in kinds]


def _best(summary: Summary) -> list[Row]:
    rows = sorted(summary.rows, key=lambda row: -row.quality.value)
    return rows[:MOST]


def _bars(title: str, rows: Sequence[tuple[str, Levels]], words: Callable[[float], str]) -> tuple[float, list[Any]]:
    """Stacked bars: the height of the drawing, and its parts."""
    most = max(sum(amount for _, amount in levels) for _, levels in rows) or 1.0
    x = linear(0, most, LEFT, RIGHT)
    parts: list[Any] = [text(0, 14, title, "soft")]
    used = {kind for _, levels in rows for kind, amount in levels if amount > 0}
    place = LEFT
    for kind, meaning in MEANINGS.items():
        if kind in used:
            parts += [bar(place, 5, 10, 10, kind), text(place + 14, 14, meaning, "soft")]
            place += 28 + 6.2 * len(meaning)
    bottom = TOP + STEP * len(rows)
    for mark in (each for each in ticks(most) if each <= most * 1.0001):
        parts += [
            line(x(mark), TOP - 8, x(mark), bottom, "grid"),
            text(x(mark), TOP - 12, f"{mark:g}", "soft", "middle"),
        ]
    for number, (name, levels) in enumerate(rows):
        y, start = TOP + STEP * number, 0.0
        parts.append(text(0, y + 13, name if len(name) <= 38 else f"{name[:37]}…"))
        for kind, amount in levels:
            if amount > 0:
                parts.append(bar(x(start), y, x(start + amount) - x(start) - 1, HEIGHT, kind))
            start += amount
        parts.append(text(RIGHT + 8, y + 13, words(levels[0][1]), "strong"))
    return bottom + 8, parts
