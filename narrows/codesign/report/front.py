"""Quality against cost: every design with its interval, and the Pareto front."""

from __future__ import annotations

import math
from typing import Any

from markupsafe import Markup

from narrows.codesign.summary import Summary
from narrows.codesign.verdict import plain
from narrows.markup import section, table
from narrows.markup.drawing import dot, figure, line, linear, logarithmic, text

LEFT, RIGHT, TOP, BOTTOM = 62.0, 700.0, 24.0, 340.0


def front(summary: Summary) -> Markup:
    """The part of the page."""
    experiment, rows = summary.planned.experiment, summary.rows
    currency, metric = experiment.prices.currency, experiment.main_metric
    low, high = _span([bound for row in rows for bound in (row.quality.low, row.quality.high)])
    cheap, dear = min(row.money for row in rows), max(row.money for row in rows)
    y, x = linear(low, high, BOTTOM, TOP), _scale(cheap, dear)
    parts: list[Any] = [text(0, 12, f"{metric}, mean of requests", "soft")]
    for mark in _marks(low, high):
        parts += [line(LEFT, y(mark), RIGHT, y(mark), "grid"), text(LEFT - 6, y(mark) + 4, f"{mark:g}", "soft", "end")]
    for mark in _amounts(cheap, dear):
        parts += [
            line(x(mark), TOP, x(mark), BOTTOM, "grid"),
            text(x(mark), BOTTOM + 16, f"{mark:g}", "soft", "middle"),
        ]
    parts.append(text((LEFT + RIGHT) / 2, BOTTOM + 34, f"{currency} a billion requests, logarithmic", "soft", "middle"))
    corners = [(x(rows[at].money), y(rows[at].quality.value)) for at in summary.front]
    for (x1, y1), (x2, y2) in zip(corners, [*corners[1:], (RIGHT, corners[-1][1])], strict=True):
        parts += [line(x1, y1, x2, y1, "good"), line(x2, y1, x2, y2, "good")]
    taken: list[tuple[float, float]] = []
    for at, row in enumerate(rows):
        px, py = x(row.money), y(row.quality.value)
        kind = "good" if at in summary.front else "plain"
        parts += [line(px, y(row.quality.low), px, y(row.quality.high), kind), dot(px, py, kind, 5)]
        tx, ty = _free(taken, px, py)
        parts.append(text(tx, ty, at + 1, "strong"))
    what = (
        f"Each dot is a design, numbered as in the table below; the line through it is the 95% interval of its {metric} over users "
        "and seeds. Farther up is better, farther left is cheaper. Green, with the steps through them: designs that no cheaper "
        "one matches (the Pareto front)."
    )
    numbers = table(
        "Quality and cost of each design, the best first",
        ["design", f"{metric} [95%]", "lowest and highest seed", f"{currency} a billion requests", "operations a request", "CPU s a thousand requests", "on the front"],
        [
            (
                f"{at + 1}. {row.name}", plain(row.quality), f"{min(row.seeds):.4f} to {max(row.seeds):.4f}", f"{row.money:.3g}",
                f"{row.metrics['flops']:,.0f}", f"{row.metrics['cpu_seconds']:.3g}", "yes" if at in summary.front else "",
            )
            for at, row in sorted(enumerate(rows), key=lambda each: -each[1].quality.value)
        ],
        numbers=(1, 2, 3, 4, 5),
    )  # fmt: skip
    drawing = figure("front-drawing", "Quality against cost", what, BOTTOM + 44, parts, numbers)
    return section("front", "Quality against cost", drawing, _legend(summary))


def _legend(summary: Summary) -> Markup:
    """The names of the numbers, always visible."""
    rows = [(at + 1, row.name, "front" if at in summary.front else "") for at, row in enumerate(summary.rows)]
    return table("The designs by number", ["number", "design", "Pareto front"], rows)


def _span(values: list[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    margin = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    return low - margin, high + margin


def _scale(cheap: float, dear: float) -> Any:
    if cheap <= 0:
        return linear(0, dear or 1.0, LEFT + 16, RIGHT - 24)
    return logarithmic(cheap / 1.05, max(dear, cheap * 1.2) * 1.05, LEFT + 16, RIGHT - 24)


def _marks(low: float, high: float, count: int = 5) -> list[float]:
    """Round values within, about so many."""
    power = 10 ** math.floor(math.log10((high - low) / count))
    step = next(power * factor for factor in (1, 2, 5, 10) if (high - low) / (power * factor) <= count)
    return [round(step * at, 10) for at in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _amounts(cheap: float, dear: float) -> list[float]:
    """Amounts of money for the axis: 1, 2 and 5 of each power of ten within."""
    if cheap <= 0:
        return _marks(0, dear or 1.0)
    dear = max(dear, cheap * 1.2) * 1.05
    powers = range(math.floor(math.log10(cheap)), math.ceil(math.log10(dear)) + 1)
    every = [factor * 10.0**power for power in powers for factor in (1, 1.5, 2, 3, 5, 7)]
    within = [amount for amount in every if cheap / 1.05 <= amount <= dear]
    return [amount for amount in within if len(within) <= 6 or _leading(amount) in (1, 2, 5)]


def _leading(amount: float) -> float:
    return round(amount / 10.0 ** math.floor(math.log10(amount) + 1e-9), 2)


def _free(taken: list[tuple[float, float]], x: float, y: float) -> tuple[float, float]:
    """A place beside a dot for its number that covers no other number: of four, the first that is free."""
    places = [(x + dx, y + dy) for dx, dy in ((8, -7), (-16, -7), (8, 17), (-16, 17))]

    def free(place: tuple[float, float]) -> bool:
        return all(abs(place[0] - other[0]) >= 16 or abs(place[1] - other[1]) >= 12 for other in taken)

    chosen = next(filter(free, places), places[0])
    taken.append(chosen)
    return chosen
