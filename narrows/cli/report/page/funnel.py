"""The funnel: how many candidates a user has after each stage, and what share of the positives is still among them."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from narrows.cli.layout import Row
from narrows.cli.report.summary import PUBLISHER
from narrows.markup import section, table
from narrows.markup.drawing import bar, brief, decades, figure, line, logarithmic, percent, plain, shape, text

MIDDLE, REACH, TOP, STEP, HEIGHT = 300.0, 175.0, 30.0, 46.0, 28.0


def funnel(record: Row) -> Markup | None:
    """The part of the page; None where no room narrows."""
    levels = levels_of(record)
    if not levels:
        return None
    values = [level["items"] for level in levels if level["items"]]
    low, high = 1.0, decades(1.0, max([10.0, *values]))[-1]
    half = logarithmic(low, high, 0, REACH)
    bottom = TOP + STEP * len(levels)
    parts: list[Any] = [text(0, 14, "stage", "soft"), text(MIDDLE, 14, levels[0]["unit"], "soft", "middle")]
    judged = any(level["left"] is not None for level in levels)
    if judged:
        parts.append(text(515, 14, "positives still there", "soft"))
    for mark in decades(low, high)[1:]:
        for side in (-1, 1):
            x = MIDDLE + side * half(mark)
            parts.append(line(x, TOP - 6, x, bottom, "grid"))
        parts.append(text(MIDDLE + half(mark), bottom + 14, brief(mark), "soft", "middle"))
    parts.append(text(MIDDLE, bottom + 14, brief(low), "soft", "middle"))
    for at, level in enumerate(levels):
        y, reach = TOP + STEP * at, half(level["items"] or low)
        if at + 1 < len(levels):
            below = half(levels[at + 1]["items"] or low)
            corners = [(MIDDLE - reach, y + HEIGHT), (MIDDLE + reach, y + HEIGHT)]
            corners += [(MIDDLE + below, y + STEP), (MIDDLE - below, y + STEP)]
            parts.append(shape(corners, "band faint"))
        parts.append(bar(MIDDLE - reach, y, 2 * reach, HEIGHT, "band"))
        parts.append(text(0, y + 19, level["name"]))
        parts.append(text(MIDDLE, y + 19, plain(level["items"]), "strong", "middle"))
        if level["left"] is not None:
            parts.append(bar(515, y + 8, 140 * level["left"], 14, "main"))
            parts.append(text(521 + 140 * level["left"], y + 19, percent(level["left"])))
    what = "The width of a step is the number of items, on a logarithmic scale."
    if judged:
        what += " The bars at the right are the share of all positives (what users took in the horizon) that is left."
    numbers = table(
        "Candidates by stage",
        ["stage", levels[0]["unit"], "in all", "positives left", "of those received, kept (95%)"],
        [
            (level["name"], plain(level["items"]), plain(level["rows"]), percent(level["left"]), level["kept"])
            for level in levels
        ],
        numbers=(1, 2, 3, 4),
    )
    return section("funnel", "The funnel", figure("funnel-drawing", "The funnel", what, bottom + 24, parts, numbers))


def levels_of(record: Row) -> list[dict[str, Any]]:
    """Each level of the funnel: ``name``, ``items`` (a user's, or all where users are not counted), ``rows`` (of all
    users), ``left`` (share of all positives) and ``kept`` (in words); ``unit`` says what ``items`` are."""
    facts, tables = record["facts"], record["tables"]
    stages = {stage["room"]: stage for stage in facts["stages"]}
    gates = {gate["gate"]: gate for gate in facts.get("gates", ())}
    order = [name for name in facts["narrowing"] if (stages.get(name) or {}).get("rows_in") is not None]
    users = (tables.get("user_profiles") or {}).get("rows") or 0
    unit = "items a user" if users else "rows"

    def level(name: str, rows: float | None, gate: str, a_user: float | None = None) -> dict[str, Any]:
        found = gates.get(gate)
        share = found["survival"] if found else None
        kept = ""
        if share and share["value"] is not None:
            kept = percent(share["value"])
            if share["low"] is not None:
                kept += f" [{percent(share['low'])}, {percent(share['high'])}]"
        items = a_user if a_user is not None else (rows / users if users and rows is not None else rows)
        left = found["joint_survival"]["value"] if found else None
        return {"name": name, "items": items, "rows": rows, "left": left, "kept": kept, "unit": unit}

    if not order:
        return []
    catalogue = (tables.get("item_profiles") or {}).get("rows")
    levels = []
    if catalogue and users:
        levels.append(level("catalogue", catalogue * users, "", catalogue))
        levels[0]["left"] = 1.0 if gates else None
    levels.append(level(f"{order[0]} proposes", stages[order[0]]["rows_in"], "channels"))
    levels += [level(f"{name} keeps", stages[name]["rows_out"], name) for name in order]
    if PUBLISHER in stages:
        levels.append(level("the published list", stages[PUBLISHER]["rows_out"], "published"))
    return levels
