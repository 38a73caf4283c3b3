"""What the drawings share: the frame of an SVG with its name and description, axes, text, bars."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from markupsafe import Markup

from narrows.markup import tag

WIDTH = 720
"""Of every drawing, in its own units."""
Scale = Callable[[float], float]


def figure(key: str, title: str, description: str, height: float, parts: Sequence[Any], table: Any) -> Markup:
    """A drawing with its name, a description, and the same numbers as a table.

    Args:
        key: unique on the page.
        title: the drawing's name.
        description: what it shows and how to read it; the caption.
        height: in the drawing's units; it is ``WIDTH`` wide.
        parts: its elements.
        table: the alternative for who cannot see it.
    """
    drawing = tag(
        "svg", tag("title", title, id=f"{key}-title"), tag("desc", description, id=f"{key}-description"), *parts,
        viewBox=f"0 0 {WIDTH} {height:g}", role="img",
        aria_labelledby=f"{key}-title", aria_describedby=f"{key}-description",
    )  # fmt: skip
    details = tag("details", tag("summary", f"{title}: the numbers"), table)
    scrolling = tag("div", drawing, class_="wide", role="region", tabindex="0", aria_label=title)
    return tag("figure", scrolling, tag("figcaption", description), details)


def text(x: float, y: float, words: Any, kind: str = "", anchor: str = "start") -> Markup:
    """Words whose baseline is at ``y``."""
    return tag("text", words, x=f"{x:.1f}", y=f"{y:.1f}", class_=kind or None, text_anchor=anchor)


def bar(x: float, y: float, width: float, height: float, kind: str) -> Markup:
    """A rectangle, at least a hair wide."""
    return tag("rect", x=f"{x:.1f}", y=f"{y:.1f}", width=f"{max(width, 0.8):.1f}", height=f"{height:.1f}", class_=kind)


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    """A straight line."""
    return tag("line", x1=f"{x1:.1f}", y1=f"{y1:.1f}", x2=f"{x2:.1f}", y2=f"{y2:.1f}", class_=kind)


def shape(points: Sequence[tuple[float, float]], kind: str) -> Markup:
    """A filled polygon."""
    return tag("polygon", points=" ".join(f"{x:.1f},{y:.1f}" for x, y in points), class_=kind)


def dot(x: float, y: float, kind: str, radius: float = 4.5) -> Markup:
    """A filled circle."""
    return tag("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r=radius, class_=kind)


def linear(low: float, high: float, start: float, end: float) -> Scale:
    """A scale from values to places."""
    span = (high - low) or 1.0
    return lambda value: start + (value - low) / span * (end - start)


def logarithmic(low: float, high: float, start: float, end: float) -> Scale:
    """The same of logarithms; smaller values are put at ``low``."""
    scale = linear(math.log10(low), math.log10(high), start, end)
    return lambda value: scale(math.log10(max(value, low)))


def ticks(high: float, count: int = 4) -> list[float]:
    """Round values from 0 up to at least ``high``, about ``count`` steps of them."""
    if high <= 0:
        return [0.0, 1.0]
    power = 10 ** math.floor(math.log10(high / count))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor * count >= high * 0.999)
    return [step * at for at in range(math.ceil(high / step - 1e-9) + 1)]


def decades(low: float, high: float) -> list[float]:
    """The powers of ten that hold both values between them."""
    return [10.0**power for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]


def plain(value: float | None) -> str:
    """A number as a reader writes it: ``92,348``, ``309``, ``60.5``, ``0.25``; nothing for None."""
    if value is None:
        return ""
    if value == round(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def brief(power: float) -> str:
    """A power of ten for an axis: ``100``, ``10k``, ``1M``."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if power >= size:
            return f"{power / size:g}{letter}"
    return f"{power:g}"


def percent(share: float | None, digits: int = 1) -> str:
    """``45.6%``; nothing for None."""
    return "" if share is None else f"{100 * share:.{digits}f}%"
