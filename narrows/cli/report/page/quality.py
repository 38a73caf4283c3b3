"""Quality of every list with its interval: stages, the published one, channels and baselines on one axis."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from narrows.cli.layout import Row, interval, short
from narrows.cli.report.screen import verdicts
from narrows.cli.report.shown import folded, silent
from narrows.markup import section, table, tag
from narrows.markup.drawing import dot, figure, line, linear, plain, text, ticks

KINDS = {"stage": "main", "published": "good", "channel": "plain", "baseline": "other"}
PANELS = {"recall": (206.0, 440.0), "ndcg": (476.0, 710.0)}
TOP, STEP = 34.0, 23.0


def quality(facts: Row) -> Markup | None:
    """The part of the page; None where nothing is judged."""
    every = [each for each in (*facts.get("orders", ()), *facts["lists"]) if each["recall"]["value"] is not None]
    if not every:
        return None
    shown = folded(every)
    rows = [each for each, _ in shown]
    k, bottom = facts["k"], TOP + STEP * len(rows)
    parts: list[Any] = []
    for metric, (start, end) in PANELS.items():
        highest = max(each[metric]["high"] or each[metric]["value"] or 0 for each in rows)
        marks = ticks(highest)
        place = linear(0, marks[-1], start, end)
        parts.append(text(start, 14, f"{metric}@{k}", "strong"))
        for mark in marks:
            parts += [line(place(mark), TOP - 8, place(mark), bottom, "grid")]
            parts += [text(place(mark), bottom + 15, plain(round(mark, 6)), "soft", "middle")]
        for at, each in enumerate(rows):
            number, y, kind = each[metric], TOP + STEP * at + 8, KINDS[each["kind"]]
            if number["value"] is None:
                continue
            if number["low"] is not None:
                parts.append(line(place(number["low"]), y, place(number["high"]), y, kind))
            parts.append(dot(place(number["value"]), y, kind))
    parts += [text(0, TOP + STEP * at + 12, name_of(each, of)) for at, (each, of) in enumerate(shown)]
    what = (
        f"Each dot is a list of {k} items a user, each line its 95% interval, over {facts['users']:,} users who took "
        "something in the horizon. A stage's list is its best items, had the cascade ended there; a channel's list and a "
        "baseline's are theirs alone. Of a channel's steps of time the best one is drawn; the numbers below have all."
    )
    numbers = table(
        f"Quality of lists of {k}",
        ["list", f"recall@{k} [95%]", f"ndcg@{k} [95%]", "recall of new items", "lead of the published list (recall)"],
        [
            (name_of(each), interval(each["recall"]), interval(each["ndcg"]), short(each["new_recall"]["value"]),
             interval(each["lead"], signed=True))
            for each in every
        ],
        numbers=(1, 2, 3, 4),
    )  # fmt: skip
    drawing = figure("quality-drawing", "Quality by list", what, bottom + 24, parts, numbers)
    told = [remark.removeprefix("!! ") for remark in joined(verdicts(facts))]
    if names := silent(every):
        told.append(f"proposed nothing: channel {', '.join(names)}")
    remarks = tag("ul", *(tag("li", remark) for remark in told))
    return section("quality", "Quality of each stage", remarks, drawing)


def name_of(each: Row, stands_for: int = 1) -> str:
    """What to call a list: ``stage rank``, ``channel own``, ``published list``, ``channel popular_4x, best of 7``."""
    name = "published list" if each["kind"] == "published" else f"{each['kind']} {each['list']}"
    return name if stands_for == 1 else f"{name}, best of {stands_for}"


def joined(lines: list[str]) -> list[str]:
    """Remarks that were broken to fit a terminal in one piece again."""
    remarks: list[str] = []
    for each in lines:
        starts = each.startswith(("!! ", "every scoring")) or " against " in each or not remarks
        remarks = [*remarks, each] if starts else [*remarks[:-1], f"{remarks[-1]} {each}"]
    return remarks


def best_baseline(facts: Row) -> Row | None:
    """The baseline with the highest NDCG, None where there is none."""
    baselines = [each for each in facts["lists"] if each["kind"] == "baseline" and each["ndcg"]["value"] is not None]
    return max(baselines, key=lambda each: each["ndcg"]["value"], default=None)
