"""The report at the end of a run: one screen of text, in colours on a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any, TextIO

from narrows.cli.layout import WIDTH, Block, Row, bar, count, cut, interval, print_blocks, seconds, short
from narrows.cli.report.shown import folded, silent
from narrows.cli.report.summary import COSTS

REASONS = 8
"""Lines of the ledger; the reasons beyond them share the last."""
LAST = 5
"""As-ofs of earlier runs whose quality is said where that of this run is not known yet."""
LABEL = 13
"""Width of the names at the report's end."""


def text(facts: Row) -> str:
    """The summary as one screen of text, at most 100 columns wide."""
    return f"\n{'─' * WIDTH}\n".join("\n".join(block.lines()) for block in blocks(facts))


def print_report(facts: Row, file: TextIO | None = None) -> None:
    """Print the report: with colours on a terminal that is wide enough, else as plain text."""
    print_blocks(blocks(facts), file)


def blocks(facts: Row) -> list[Block]:
    """The parts of the report, in order."""
    title = ["narrows", facts["source"], f"as of {facts['asof']}"]
    title += [f"judged on the {facts['horizon']} after"] if facts["horizon"] and facts["users"] else []
    parts = [Block(" · ".join(part for part in title if part)), _stages(facts)]
    if facts["users"]:
        parts += [_lists(facts), _ledger(facts)]
    else:
        parts.append(Block(notes=textwrap.wrap(why_not_judged(facts), WIDTH)))
    return [*parts, Block(notes=_tail(facts))]


def why_not_judged(facts: Row) -> str:
    """Why there are no figures of quality."""
    if facts["judged"]:
        return "nothing to judge: the horizon after the as-of has closed without an event of a known user"
    if not facts["due"]:
        return "nothing to judge yet: the horizon after the as-of has not closed"
    until = f"; the source has events until {facts['known_until']}" if facts["known_until"] else ""
    return f"the lists are judged when {facts['due']} has closed{until}"


def _stages(facts: Row) -> Block:
    k, stages = facts["k"], facts["stages"]
    total: dict[str, Any] = dict.fromkeys((*COSTS, "recall", "ndcg"))
    total |= {"room": "all", "survival": facts["joint_survival"]}
    total |= {key: sum(stage[key] or 0 for stage in stages) for key in COSTS if key.endswith("seconds")}
    total |= {"peak_mb": max((stage["peak_mb"] or 0 for stage in stages), default=0)}
    rows = []
    for stage in (*stages, total):
        rows_in, rows_out, peak = (count(stage[key]) for key in ("rows_in", "rows_out", "peak_mb"))
        spent = [seconds(stage[key]) for key in ("seconds", "past_seconds", "cpu_seconds")]
        quality = (bar(stage["survival"]), short(stage["recall"]), short(stage["ndcg"]))
        rows.append((stage["room"], rows_in, rows_out, *quality, *spent, peak))
    header = ("stage", "in", "out", "  survival", f"recall@{k}", f"ndcg@{k}", "sec", "past s", "cpu s", "peak MB")
    return Block(widths=(-16, 10, 10, -17, 10, 8, 7, 7, 7, 8), header=header, rows=rows)


def _lists(facts: Row) -> Block:
    k, rows = facts["k"], []
    for each, stands_for in folded(facts["lists"]):
        name = each["list"] if each["kind"] == "published" else f"{each['kind']} {each['list']}"
        name += f" best of {stands_for}" if stands_for > 1 else ""
        numbers = (interval(each["recall"]), interval(each["ndcg"]), short(each["new_recall"]["value"]))
        rows.append((cut(name, 30), *numbers, interval(each["lead"], signed=True)))
    header = (f"list of {k} · {facts['users']:,} users", f"recall@{k}", f"ndcg@{k}", "new", "lead (recall)")
    return Block(widths=(-31, -20, -20, -7, -22), header=header, rows=rows, notes=[*_silent(facts), *verdicts(facts)])


def _silent(facts: Row) -> list[str]:
    """The line that names the channels which proposed nothing; none where all did."""
    names = silent(facts["lists"])
    return textwrap.wrap(f"proposed nothing: channel {', '.join(names)}", WIDTH) if names else []


def verdicts(facts: Row) -> list[str]:
    """What stood back for a simple order, each scoring stage that orders worse than the one before it, and what the steps of the
    last room cost.
    """
    steps, narrowing = facts["steps"], facts["narrowing"]
    scoring = [step for step in steps if step["step"] in narrowing[1:-1] and step["value"] is not None]
    lines = [
        f"!! {each['room']} orders by {each['order']}: {each['instead_of']} was not better on the latest horizons, beyond chance "
        f"({each.get('judged_by', 'ndcg').replace('_', ' ')} {each['worth_of_model']:.4f} against {each['worth']:.4f})"
        + (
            f"; what is kept is said by {each['kept_by']}"
            if each.get("kept_by", each["order"]) != each["order"]
            else ""
        )
        for each in facts.get("stood_back", ())
    ]
    stood_back = len(lines)
    for step in scoring:
        if step["value"] < 0:
            doubt = "" if step["high"] is not None and step["high"] < 0 else " (the interval holds 0)"
            before = step["against"].removeprefix("stage ")
            what = f"{step['metric']} {interval(step, signed=True)}{doubt}"
            lines.append(f"!! {step['step']} orders worse than {before}: {what}")
    if scoring and len(lines) == stood_back:
        lines.append("every scoring stage orders at least as well as the one before it")
    last, before = narrowing[-1:], narrowing[-2:-1]
    costs: dict[str, list[str]] = {}
    for step in steps:
        if [step["against"]] == [f"stage {room}" for room in before] and step["share"] is not None:
            costs.setdefault(step["step"], []).append(f"{100 * step['share']:+.2f}%")
    if costs:
        parts = [f"{'all' if name in last else name} {'/'.join(both)}" for name, both in costs.items()]
        line = f"{last[0]} against {before[0]}'s order (recall/ndcg): {' · '.join(parts)}"
        lines += textwrap.wrap(line, WIDTH)
    return lines


def _ledger(facts: Row) -> Block:
    outcomes = sorted(facts["ledger"], key=lambda row: -row["count"])
    total = sum(row["count"] for row in outcomes)
    named = [
        (row["reason"] if row["stage"] in ("none", "shown") else f"{row['stage']}: {row['reason']}", row["count"])
        for row in outcomes
    ]
    if len(named) > REASONS:
        rest = sum(positives for _, positives in named[REASONS - 1 :])
        named = [*named[: REASONS - 1], (f"{len(named) - REASONS + 1} more reasons", rest)]
    rows = [
        (f"  {cut(name, 40)}", f"{n:,}", f"{100 * n / total:.1f}%", "  " + "█" * round(36 * n / total))
        for name, n in named
    ]
    return Block(f"where the {total:,} positives went", (-43, 9, 8, -40), rows=rows)


def _tail(facts: Row) -> list[str]:
    rows: list[tuple[str, str]] = []
    if serving := facts["serving"]:
        state = "LIVE" if serving["live"] else f"kept, because {serving['kept_because']}"
        rows.append(("serving", f"release {serving['release_id']} is {state}"))
    rows += [("!!", facts["warning"])] if facts.get("warning") else []
    rows += [("!! contract", line) for line in facts.get("contract_warnings", ())]
    if not facts["users"]:
        for at, each in enumerate(reversed(facts.get("last", ())[-LAST:])):
            lead = f", lead {interval(each['lead'], signed=True)}" if each["lead"] else ""
            quality = " · ".join(f"{name}@{each['k']} {interval(each[name])}" for name in ("recall", "ndcg"))
            rows.append(("" if at else "judged", f"as of {each['asof']}: {quality}{lead}"))
    rows += [("cost", line) for line in _past(facts["stages"])]
    rows += [("one pass", line) for line in _fused(facts.get("fused", ()))]
    if facts["calibration_error"] is not None:
        calibration = f"probabilities are off by {facts['calibration_error']:.4f} on average (ECE)"
        if facts["log_loss"] is not None:
            calibration += f" · log loss {facts['log_loss']:.4f}, constant's {facts['log_loss_one_for_all']:.4f}"
        rows.append(("calibration", calibration))
    if facts["coverage"] is not None and facts["novelty"] is not None:
        shown = f"{100 * facts['coverage']:.1f}% of the catalogue shown · novelty {facts['novelty']:.1f} bits"
        rows.append(("variety", shown))
    if len(kinds := facts.get("kinds") or {}) > 1:
        rows.append(("events", " · ".join(f"{kind} {n:,}" for kind, n in kinds.items())))
    without = int(facts["users_without_list"] or 0)
    fallbacks = facts["fallbacks"] | ({"judged users served the fallback": without} if without else {})
    for name, counts in (("quarantine", facts["quarantine"]), ("fallbacks", fallbacks)):
        rows.append((name, " · ".join(f"{reason} {n:,}" for reason, n in counts.items()) or "none"))
    rows += [("next" if not at else "", step) for at, step in enumerate(facts["next"])]
    lines = []
    for name, content in rows:
        parts = textwrap.wrap(content, WIDTH - LABEL, drop_whitespace=False) or [""]
        lines += [f"{name if not at else '':<{LABEL}}{part}" for at, part in enumerate(parts)]
    return lines


def _fused(rooms: Sequence[Row]) -> list[str]:
    """What the users outside the flow sample cost in each room; no line where there are none."""
    if not rooms:
        return []
    spent = sum(each["ms_a_user"] for each in rooms)
    parts = [f"{each['room']} {each['ms_a_user']:.2f}" for each in rooms]
    return [f"{rooms[0]['users']:,} users in memory: {spent:.2f} CPU ms a user: {', '.join(parts)}"]


def _past(stages: Sequence[Row]) -> list[str]:
    """What of all that was spent went into earlier windows; no line where nothing did."""
    own, past = (
        [sum(stage[f"{kind}{name}"] or 0 for stage in stages) for name in ("seconds", "cpu_seconds")]
        for kind in ("", "past_")
    )
    if not any(past):
        return []
    parts = [
        f"{seconds(a + b)} {unit}, {seconds(b)} of them" for a, b, unit in zip(own, past, ("s", "cpu s"), strict=True)
    ]
    return [f"{' · '.join(parts)} for earlier windows"]
