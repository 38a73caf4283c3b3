"""The ledger as a flow: how many positives each stage passes on, how many it loses, and why."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from narrows.cli.layout import Row
from narrows.markup import section, table
from narrows.markup.drawing import bar, figure, linear, percent, shape, text

START, END, TOP, STEP, HEIGHT = 120.0, 712.0, 28.0, 62.0, 24.0
LONGEST = 96
"""Characters of the reasons below a bar."""
CHARACTER = 6.2
"""About the width of one."""


def ledger(facts: Row) -> Markup | None:
    """The part of the page; None where nothing is judged."""
    total = sum(row["count"] for row in facts["ledger"])
    if not total:
        return None
    levels = losses(facts)
    shown = sum(row["count"] for row in facts["ledger"] if row["stage"] == "shown")
    place = linear(0, total, START, END)
    parts: list[Any] = [text(0, 14, "lost at", "soft"), text(START, 14, f"{total:,} positives", "soft")]
    left = total
    for at, (stage, reasons) in enumerate(levels):
        y, passed = TOP + STEP * at, left - sum(n for _, n in reasons)
        parts.append(text(0, y + 17, stage))
        parts.append(bar(START, y, place(passed) - START, HEIGHT, "main"))
        if left > passed:
            parts.append(bar(place(passed), y, place(left) - place(passed), HEIGHT, "lost"))
        below = y + STEP
        parts.append(shape([(START, y + HEIGHT), (place(passed), y + HEIGHT), (place(passed), below), (START, below)],
                           "band faint"))  # fmt: skip
        said = cut(f"− {left - passed:,}: {words(reasons)}") if reasons else "nothing lost"
        fits = place(passed) + 6 + len(said) * CHARACTER < END
        x, side = (place(passed) + 6, "start") if fits else (END, "end")
        parts.append(text(x, y + HEIGHT + 16, said, "soft", side))
        left = passed
    y = TOP + STEP * len(levels)
    parts.append(bar(START, y, place(left) - START, HEIGHT, "good"))
    parts.append(text(0, y + 17, "shown", "strong"))
    parts.append(text(place(left) + 8, y + 17, f"{shown:,} in a list ({percent(shown / total)})", "strong"))
    what = (
        "From top to bottom: the positives (what users took in the horizon) that a stage receives. The orange end of a "
        "bar is what it loses, with the reasons; the rest goes on to the next stage. The green bar is what users saw."
    )
    numbers = table(
        f"Where the {total:,} positives went",
        ["stage", "reason", "positives", "share"],
        [
            (stage_name(row["stage"]), row["reason"], f"{row['count']:,}", percent(row["count"] / total, 2))
            for row in facts["ledger"]
        ],
        numbers=(2, 3),
    )
    drawing = figure("ledger-drawing", "Where the positives went", what, y + HEIGHT + 8, parts, numbers)
    return section("ledger", "Where the positives went", drawing)


def losses(facts: Row) -> list[tuple[str, list[tuple[str, int]]]]:
    """Each stage with the reasons for which it lost positives, largest first, in the order of the cascade."""
    stages = dict.fromkeys(["none", *facts["narrowing"], *(row["stage"] for row in facts["ledger"])])
    levels = []
    for stage in stages:
        reasons = [(row["reason"], row["count"]) for row in facts["ledger"] if row["stage"] == stage]
        if stage != "shown":
            levels.append((stage_name(stage), sorted(reasons, key=lambda reason: -reason[1])))
    return levels


def stage_name(stage: str) -> str:
    """What to call where a positive was lost; ``none`` is before the first stage."""
    return "never proposed" if stage == "none" else stage


def words(reasons: list[tuple[str, int]]) -> str:
    """``diversity`` of one reason; the counts beside them of several."""
    if len(reasons) == 1:
        return reasons[0][0]
    return " · ".join(f"{reason} {count:,}" for reason, count in reasons)


def cut(what: str) -> str:
    """The words, cut where they are too long for a line."""
    return what if len(what) <= LONGEST else f"{what[: LONGEST - 1]}…"
