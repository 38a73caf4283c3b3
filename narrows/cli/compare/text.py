"""A comparison of runs as text of at most 100 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

from narrows.cli.layout import WIDTH, Block, Row, count, seconds, short


def text(facts: Row) -> str:
    """The comparison as text."""
    return f"\n{'─' * WIDTH}\n".join("\n".join(block.lines()) for block in blocks(facts))


def blocks(facts: Row) -> Iterator[Block]:
    """The parts: what is compared, settings, quality, survival, cost, lists."""
    runs = [
        f"{run['letter']}  run {run['number']} · {run['name']} · {run['source']} · {run['recorded_at']}"[:WIDTH]
        for run in facts["runs"]
    ]
    places = {run["state"] for run in facts["runs"]}
    if len(places) > 1:
        runs += [f"{run['letter']}  in {run['state']}"[:WIDTH] for run in facts["runs"]]
    yield Block("narrows compare", notes=runs)
    yield _settings(facts)
    if facts["quality"]:
        yield _quality(facts)
    yield _survival(facts)
    yield _cost(facts)
    notes = [
        f"{each['run']} and A: {each['common']:.1%} of the items of a list are the same, "
        f"{each['identical']:.1%} of {each['users']:,} users have an identical list"
        for each in facts["overlap"]
    ]
    yield Block(
        "published lists", notes=[line for note in [*notes, *facts["notes"]] for line in textwrap.wrap(note, WIDTH)]
    )


def difference(row: Row | None) -> str:
    """``+.0012 [-.0004, +.0028]``, or ``the same``; nothing for the first run."""
    if row is None:
        return ""
    if row["value"] == row["low"] == row["high"] == 0:
        return "the same"
    return f"{short(row['value'], True)} [{short(row['low'], True)}, {short(row['high'], True)}]"


def verdict(row: Row | None) -> str:
    """What an interval says: ``better``, ``worse``, or nothing where it holds 0."""
    if row is None or row["low"] <= 0 <= row["high"]:
        return ""
    return "better" if row["low"] > 0 else "worse"


def _settings(facts: Row) -> Block:
    if not facts["settings"]:
        return Block("settings that differ", notes=["none"])
    lines = []
    for row in facts["settings"]:
        parts = [f"{run['letter']} {value}" for run, value in zip(facts["runs"], row["values"], strict=True)]
        lines += textwrap.wrap(f"{row['name']}: {' · '.join(parts)}", WIDTH, subsequent_indent="  ")
    return Block("settings that differ", notes=lines)


def _quality(facts: Row) -> Block:
    k, rows, last = facts["k"], [], ""
    found: dict[tuple[str, str], dict[str, Row]] = {}
    for row in facts["quality"]:
        found.setdefault((row["list"], row["run"]), {})[row["metric"]] = row
    for (name, run), each in found.items():
        ndcg, recall = each["ndcg"], each["recall"]
        label = "" if name == last else name if name == "published" else f"after {name}"
        told = verdict(ndcg["difference"])
        rows.append((label, run, short(ndcg["value"]), difference(ndcg["difference"]), told,
                     short(recall["value"]), difference(recall["difference"])))  # fmt: skip
        last = name
    header = ("quality", "run", f"ndcg@{k}", "less A's", "", f"recall@{k}", "less A's")
    return Block(widths=(-17, -4, 8, 25, 8, 11, 25), header=header, rows=rows)


def _survival(facts: Row) -> Block:
    letters = [run["letter"] for run in facts["runs"]]
    rows, values = [], {(row["stage"], row["run"]): row for row in facts["survival"]}
    for stage in dict.fromkeys(row["stage"] for row in facts["survival"]):
        for at, letter in enumerate(letters):
            row = values[stage, letter]
            label = "" if at else "all stages" if stage == "joint" else stage
            rows.append((label, letter, short(row["value"]), short(row["difference"], True)))
    return Block(widths=(-17, -4, 8, 10), header=("survival", "run", "share", "less A's"), rows=rows)


def _cost(facts: Row) -> Block:
    rows, last = [], ""
    for row in facts["cost"]:
        more: Any = row["difference"]
        label = "" if row["stage"] == last else row["stage"]
        rows.append((
            label, row["run"], seconds(row["seconds"]), _signed(more["seconds"]), seconds(row["cpu_seconds"]),
            _signed(more["cpu_seconds"]), seconds(row["past_seconds"]), count(row["peak_mb"]), count(row["rows_out"]),
            "  same version" if row["shared"] else "",
        ))  # fmt: skip
        last = row["stage"]
    header = ("cost", "run", "sec", "less A's", "cpu s", "less A's", "past s", "peak MB", "rows out", "")
    return Block(widths=(-17, -4, 8, 10, 8, 10, 8, 9, 12, -14), header=header, rows=rows)


def _signed(value: float | None) -> str:
    return "" if value is None else f"{value:+,.1f}"
