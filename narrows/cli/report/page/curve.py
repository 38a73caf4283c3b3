"""The quality of the last runs: what the published lists of each as-of were worth, once they could be judged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from narrows.cli.layout import Row, interval
from narrows.markup import section, table
from narrows.markup.drawing import dot, figure, line, linear, shape, text, ticks

LEFT, RIGHT, TOP, BOTTOM = 60.0, 690.0, 16.0, 216.0
LABELS = 6
"""As-ofs that are written below the curve."""


def curve(points: Sequence[Row]) -> Markup | None:
    """The part of the page; None where there are not two as-ofs to draw a line between.

    Args:
        points: see `last_judged`.
    """
    if len(points) < 2:
        return None
    k = points[-1]["k"]
    highest = max(_high(each) for each in points)
    marks = ticks(highest)
    across, up = linear(0, len(points) - 1, LEFT, RIGHT), linear(0, marks[-1], BOTTOM, TOP)
    parts: list[Any] = []
    for mark in marks:
        parts += [
            line(LEFT, up(mark), RIGHT, up(mark), "grid"),
            text(LEFT - 8, up(mark) + 4, f"{mark:.2g}", "soft", "end"),
        ]
    ends = [(across(at), up(each["recall"]["low"] or 0)) for at, each in enumerate(points)]
    ends += [(across(at), up(_high(each))) for at, each in reversed(list(enumerate(points)))]
    parts.append(shape(ends, "band"))
    for at, each in enumerate(points):
        if at:
            before = points[at - 1]["recall"]["value"]
            parts.append(line(across(at - 1), up(before), across(at), up(each["recall"]["value"]), "axis"))
        parts.append(dot(across(at), up(each["recall"]["value"]), "main", 3.5))
    step = max(1, -(-len(points) // LABELS))
    for at in range(len(points) - 1, -1, -step):
        anchor = "end" if at == len(points) - 1 else "start" if at == 0 else "middle"
        parts.append(text(across(at), BOTTOM + 18, points[at]["asof"], "soft", anchor))
    what = (
        f"Recall@{k} of the lists that were published as of each period, judged by the run that found their horizon closed. "
        "The band is the interval."
    )
    rows = [
        (each["asof"], f"{each['users']:,}", interval(each["recall"]), interval(each["ndcg"]),
         interval(each["lead"], signed=True) if each["lead"] else "", each["best"])
        for each in reversed(points)
    ]  # fmt: skip
    header = ["as of", "users", f"recall@{k}", f"ndcg@{k}", "lead in recall over", "the best simple list"]
    numbers = table("Quality of the last runs", header, rows, numbers=(1,))
    drawing = figure("curve-drawing", "Quality of the last runs", what, BOTTOM + 28, parts, numbers)
    return section("curve", "The last runs", None, drawing)


def _high(each: Row) -> float:
    return float(each["recall"]["high"] or each["recall"]["value"])
