"""What each stage cost: time, processor time and memory, as bars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from narrows.cli.layout import Row, count, seconds
from narrows.markup import section, table
from narrows.markup.drawing import bar, figure, linear, text

PANELS = {  # what, of earlier windows, heading, from, to
    "seconds": ("past_seconds", "seconds", 130.0, 235.0),
    "cpu_seconds": ("past_cpu_seconds", "CPU seconds", 345.0, 450.0),
    "peak_mb": ("", "peak memory, MB", 560.0, 665.0),
}
TOP, STEP, HEIGHT = 26.0, 26.0, 14.0


def cost(record: Row) -> Markup:
    """The part of the page."""
    stages, cached = record["facts"]["stages"], cached_rooms(record)
    parts: list[Any] = []
    for what, (past, heading, start, end) in PANELS.items():
        highest = max([(stage[what] or 0) + (stage.get(past) or 0) for stage in stages] or [0])
        place = linear(0, highest or 1, start, end)
        parts.append(text(start, 14, heading, "soft"))
        for at, stage in enumerate(stages):
            y, own, before = TOP + STEP * at, stage[what] or 0, stage.get(past) or 0
            if stage[what] is None:
                continue
            parts.append(bar(start, y, place(own) - start, HEIGHT, "cached" if stage["room"] in cached else "main"))
            if before:
                parts.append(bar(place(own), y, place(own + before) - place(own), HEIGHT, "band"))
            number = seconds(own) if past else count(own)
            number += f" + {seconds(before)}" if before else ""
            parts.append(text(place(own + before) + 5, y + 12, number, "soft"))
    for at, stage in enumerate(stages):
        parts.append(text(0, TOP + STEP * at + 12, stage["room"]))
    what = (
        "The dark part of a bar is this as-of, the light part (after the +) what the run spent on earlier windows, from which "
        "the models learn. A dashed bar was not spent in this run: the table was in the store."
    )
    header = ["stage", "seconds", "of earlier windows", "CPU seconds", "of earlier windows", "peak MB", "made"]
    rows = [
        (stage["room"], *(seconds(stage.get(key)) for key in ("seconds", "past_seconds", "cpu_seconds", "past_cpu_seconds")),
         count(stage["peak_mb"]), "earlier (cached)" if stage["room"] in cached else "in this run")
        for stage in stages
    ]  # fmt: skip
    numbers = table("Cost by stage", header, rows, numbers=(1, 2, 3, 4, 5))
    drawing = figure("cost-drawing", "Cost by stage", what, TOP + STEP * len(stages) + 4, parts, numbers)
    return section("cost", "What it cost", drawing, *_fused(record["facts"].get("fused", ())))


def _fused(rooms: Sequence[Row]) -> list[Markup]:
    """A table of the users outside the flow sample, where there are any."""
    if not rooms:
        return []
    rows = [
        (each["room"], count(each["rows"]), seconds(each["cpu_seconds"]), f"{each['ms_a_user']:.2f}",
         "" if each["us_a_row"] is None else f"{each['us_a_row']:.2f}")
        for each in rooms
    ]  # fmt: skip
    title = f"The {rooms[0]['users']:,} users outside the flow sample, through all rooms in memory"
    header = ["stage", "candidates", "CPU seconds", "CPU ms a user", "CPU \u00b5s a candidate"]
    return [table(title, header, rows, numbers=(1, 2, 3, 4))]


def cached_rooms(record: Row) -> set[str]:
    """The rooms whose tables an earlier run made."""
    return {room for room, made in record["tables"].items() if made["cached"]}


def spent(record: Row) -> float:
    """Seconds of the run, earlier windows included; what was cached cost nothing."""
    cached = cached_rooms(record)
    stages = [stage for stage in record["facts"]["stages"] if stage["room"] not in cached]
    return sum((stage["seconds"] or 0) + (stage.get("past_seconds") or 0) for stage in stages)
