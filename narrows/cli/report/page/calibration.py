"""The calibration curve: what rank predicts for the candidates of a bin, and what users did."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from narrows.cli.layout import Row
from narrows.markup import section, table, tag
from narrows.markup.drawing import decades, dot, figure, line, logarithmic, plain, text

LEFT, RIGHT, TOP, BOTTOM = 130.0, 570.0, 16.0, 356.0
LOWEST = 1e-5
"""The lowest end of an axis."""


def calibration(facts: Row) -> Markup | None:
    """The part of the page; None where nothing is judged."""
    bins = [each for each in facts.get("calibration", ()) if each["predicted"] is not None]
    if not bins:
        return None
    values = [value for each in bins for value in (each["predicted"], each["observed"]) if value > 0] or [1.0]
    marks = decades(max(min(values), LOWEST), min(max(*values, LOWEST * 10), 1.0))
    across = logarithmic(marks[0], marks[-1], LEFT, RIGHT)
    up = logarithmic(marks[0], marks[-1], BOTTOM, TOP)
    parts: list[Any] = []
    for mark in marks:
        parts += [line(across(mark), TOP, across(mark), BOTTOM, "grid"), line(LEFT, up(mark), RIGHT, up(mark), "grid")]
        parts += [text(across(mark), BOTTOM + 16, f"{mark:g}", "soft", "middle")]
        parts += [text(LEFT - 8, up(mark) + 4, f"{mark:g}", "soft", "end")]
    parts.append(line(LEFT, BOTTOM, RIGHT, TOP, "axis"))
    parts.append(text((LEFT + RIGHT) / 2, BOTTOM + 36, "predicted probability", "soft", "middle"))
    parts.append(text(LEFT - 46, (TOP + BOTTOM) / 2, "observed", "soft", "end"))
    for each in bins:
        seen = each["observed"] > 0
        parts.append(dot(across(each["predicted"]), up(each["observed"]), "main" if seen else "cached"))
    counts = sorted({each["rows"] for each in bins if each["rows"]})
    many = " to ".join(plain(count) for count in dict.fromkeys((counts[0], counts[-1]))) if counts else "?"
    what = (
        f"Each dot is a bin of {many} candidates: the mean probability that rank gave them, and the share that "
        "users took. On the diagonal both agree; above it rank promises too little. Both axes are logarithmic; an empty dot at "
        "the lower edge is a bin of which nothing was taken."
    )
    numbers = table(
        "Calibration by bin",
        ["bin", "candidates", "predicted", "observed"],
        [(each["bin"], plain(each["rows"]), f"{each['predicted']:.5f}", f"{each['observed']:.5f}") for each in bins],
        numbers=(1, 2, 3),
    )
    lead = None
    if facts["calibration_error"] is not None:
        words = f"Probabilities are off by {facts['calibration_error']:.4f} on average (expected calibration error)."
        if facts["log_loss"] is not None and facts["log_loss_one_for_all"] is not None:
            words += f" Log loss {facts['log_loss']:.4f}; a constant's {facts['log_loss_one_for_all']:.4f}."
        lead = tag("p", words)
    drawing = figure("calibration-drawing", "Calibration curve", what, BOTTOM + 44, parts, numbers)
    return section("calibration", "Calibration", lead, drawing)
