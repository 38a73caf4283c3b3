"""The one-screen report at the end of a run: a summary of plain values, and its text."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

WIDTH = 100
FATES = 8
"""Reasons that the report lists; the rest share a line."""
NOTHING = {"value": None, "low": None, "high": None, "users": None}
SPENT = ("rows_in", "rows_out", "seconds", "cpu_seconds", "peak_mb")
Row = Mapping[str, Any]
Key = tuple[str, str, str, str, int, str]


def summary(
    evaluation: Iterable[Row],
    costs: Mapping[str, Mapping[str, float | None]],
    *,
    asof: str,
    source: str = "",
    horizon_days: int = 0,
    quarantine: Mapping[str, int] | None = None,
    fallbacks: Mapping[str, int] | None = None,
    next_steps: Sequence[str] = (),
) -> dict[str, Any]:
    """All that the report says, as JSON values.

    Args:
        evaluation: the rows of the evaluation room's table; none where the horizon has not closed yet.
        costs: per room seconds, cpu_seconds, peak_mb, rows_in, rows_out; any may be missing.
        asof: the partition.
        source: the data set.
        horizon_days: the days after the as-of that the lists were judged on.
        quarantine: bad source rows by reason.
        fallbacks: what a person should know was replaced, e.g. ``users without candidates``, by count.
        next_steps: lines that say what to do now.
    """
    rows: dict[Key, Row] = {
        (row["population"], row["kind"], row["list"], row["metric"], row["k"], row["detail"]): row for row in evaluation
    }
    k = max((key[4] for key in rows if key[1] == "published"), default=0)
    said: dict[str, Any] = {"asof": asof, "source": source, "horizon_days": horizon_days, "k": k}
    said["stages"] = [_stage(room, rows, k, costs.get(room, {})) for room in costs]
    names = dict.fromkeys((key[1], key[2]) for key in rows if key[1] in ("published", "channel", "baseline"))
    said["lists"] = [_list(kind, name, rows, k) for kind, name in names]
    said["steps"] = [
        {"step": key[2], "against": key[5], "metric": key[3], "share": _relative(key, rows), **row}
        for key, row in rows.items()
        if key[0] == "all" and key[1] == "difference" and key[2] != "published"
    ]
    said["ledger"] = [
        {"stage": key[2], "reason": key[5], "count": int(row["value"])}
        for key, row in rows.items()
        if key[0] == "all" and key[1] == "ledger" and key[3] == "count"
    ]
    for name, key in {
        "users_without_list": ("all", "published", "published", "users_without_list", 0, ""),
        "joint_survival": ("all", "flow", "published", "joint_survival", 0, ""),
        "coverage": ("served", "published", "published", "coverage", k, ""),
        "novelty": ("all", "published", "published", "novelty", k, ""),
        "calibration_error": ("candidates", "calibration", "rank", "ece", 0, ""),
        "log_loss": ("candidates", "calibration", "rank", "log_loss", 0, ""),
        "log_loss_one_for_all": ("candidates", "calibration", "rank", "log_loss", 0, "one for all"),
    }.items():
        said[name] = rows.get(key, NOTHING)["value"]
    said["users"] = rows.get(("all", "published", "published", "recall", k, ""), NOTHING)["users"]
    said |= {
        "quarantine": dict(quarantine or {}),
        "fallbacks": dict(fallbacks or {}),
        "next": list(next_steps),
    }
    return said


def to_json(said: Row) -> str:
    """The summary as JSON text."""
    return json.dumps(said, indent=1, default=str)


def text(said: Row) -> str:
    """The summary as one screen of text, at most 100 columns wide."""
    title = ["narrows", said["source"], f"as of {said['asof']}"]
    title += [f"judged on the {said['horizon_days']} days after"] if said["horizon_days"] and said["users"] else []
    blocks = [[" · ".join(part for part in title if part)], _stages(said)]
    if said["users"]:
        blocks += [[*_lists(said), *_verdicts(said["steps"])], _ledger(said)]
    else:
        blocks.append(["nothing to judge yet: no event of the horizon after the as-of is known"])
    blocks.append(_tail(said))
    return f"\n{'─' * WIDTH}\n".join("\n".join(line.rstrip() for line in block) for block in blocks)


def _stage(room: str, rows: Mapping[Key, Row], k: int, cost: Mapping[str, float | None]) -> dict[str, Any]:
    """``survival`` counts good items: recall's out of all there are, a later room's out of what it
    received.
    """
    kind, name = ("published", "published") if room == "recommendations" else ("stage", room)
    gate = name if kind == "published" else room
    survival = ("all", "flow", gate, "joint_survival" if room == "recall" else "survival", 0, "")
    found = {"room": room, **{key: cost.get(key) for key in SPENT}}
    found["survival"] = rows.get(survival, NOTHING)["value"]
    for metric in ("recall", "ndcg"):
        found[metric] = rows.get(("all", kind, name, metric, k, ""), NOTHING)["value"]
    return found


def _list(kind: str, name: str, rows: Mapping[Key, Row], k: int) -> dict[str, Any]:
    keys: dict[str, Key] = {
        "recall": ("all", kind, name, "recall", k, ""),
        "ndcg": ("all", kind, name, "ndcg", k, ""),
        "new_recall": ("new", kind, name, "recall", k, ""),
        "coverage": ("served", kind, name, "coverage", k, ""),
        "lead": ("all", "difference", "published", "recall", k, f"{kind} {name}"),
    }
    found = {what: rows.get(key, NOTHING) for what, key in keys.items()}
    return {
        "kind": kind,
        "list": name,
        **{what: {key: row[key] for key in NOTHING} for what, row in found.items()},
    }


def _relative(key: Key, rows: Mapping[Key, Row]) -> float | None:
    """A difference as a share of what it is measured against."""
    before = rows.get(("all", "stage", key[5].removeprefix("stage "), key[3], key[4], ""), NOTHING)["value"]
    return rows[key]["value"] / before if before and rows[key]["value"] is not None else None


def _stages(said: Row) -> list[str]:
    k, stages, widths = said["k"], said["stages"], (-16, 11, 11, -20, 10, 9, 7, 8, 8)
    total = dict.fromkeys((*SPENT, "recall", "ndcg")) | {"room": "all", "survival": said["joint_survival"]}
    total |= {key: sum(stage[key] or 0 for stage in stages) for key in ("seconds", "cpu_seconds")}
    total |= {"peak_mb": max((stage["peak_mb"] or 0 for stage in stages), default=0)}
    head = (
        "stage",
        "in",
        "out",
        "  good items survive",
        f"recall@{k}",
        f"ndcg@{k}",
        "sec",
        "cpu s",
        "peak MB",
    )
    lines = [cells(head, widths)]
    for stage in (*stages, total):
        whole = [_count(stage[key]) for key in ("rows_in", "rows_out", "peak_mb")]
        spent = [_count(stage[key], 1) for key in ("seconds", "cpu_seconds")]
        row = (
            stage["room"],
            *whole[:2],
            _bar(stage["survival"]),
            short(stage["recall"]),
            short(stage["ndcg"]),
        )
        lines.append(cells((*row, *spent, whole[2]), widths))
    return lines


def _lists(said: Row) -> list[str]:
    k, widths = said["k"], (-31, -20, -20, -7, -22)
    lines = [
        cells(
            (f"list of {k} · {said['users']:,} users", f"recall@{k}", f"ndcg@{k}", "new", "lead (recall)"),
            widths,
        )
    ]
    for each in said["lists"]:
        name = each["list"] if each["kind"] == "published" else f"{each['kind']} {each['list']}"
        row = (
            name[:30],
            _interval(each["recall"]),
            _interval(each["ndcg"]),
            short(each["new_recall"]["value"]),
        )
        lines.append(cells((*row, _interval(each["lead"], signed=True)), widths))
    return lines


def _verdicts(steps: Sequence[Row]) -> list[str]:
    """Each scoring stage that orders worse than the one before it, and what the steps of rerank cost."""
    scoring = [step for step in steps if step["step"] in ("prerank", "rank") and step["value"] is not None]
    lines = []
    for step in scoring:
        if step["value"] < 0:
            doubt = "" if step["high"] is not None and step["high"] < 0 else " (the interval holds 0)"
            before = step["against"].removeprefix("stage ")
            what = f"{step['metric']} {_interval(step, signed=True)}{doubt}"
            lines.append(f"!! {step['step']} orders worse than {before}: {what}")
    if scoring and not lines:
        lines.append("every scoring stage orders at least as well as the one before it")
    costs: dict[str, list[str]] = {}
    for step in steps:
        if step["against"] == "stage rank" and step["share"] is not None:
            costs.setdefault(step["step"], []).append(f"{100 * step['share']:+.2f}%")
    if costs:
        told = [f"{'all' if name == 'rerank' else name} {'/'.join(both)}" for name, both in costs.items()]
        lines += textwrap.wrap(f"rerank against rank's order (recall/ndcg): {' · '.join(told)}", WIDTH)
    return lines


def _ledger(said: Row) -> list[str]:
    fates = sorted(said["ledger"], key=lambda row: -row["count"])
    total = sum(row["count"] for row in fates)
    shown = [
        ((f"{row['stage']}: " if row["stage"] not in ("none", "shown") else "") + row["reason"], row["count"])
        for row in fates
    ]
    if len(shown) > FATES:
        rest = sum(count for _, count in shown[FATES - 1 :])
        shown = [*shown[: FATES - 1], (f"{len(shown) - FATES + 1} more reasons", rest)]
    lines = [f"where the {total:,} good items went"]
    for name, count in shown:
        row = (
            f"  {name[:40]}",
            f"{count:,}",
            f"{100 * count / total:.1f}%",
            "  " + "█" * round(36 * count / total),
        )
        lines.append(cells(row, (-43, 9, 8, -40)))
    return lines


def _tail(said: Row) -> list[str]:
    rows: list[tuple[str, str]] = []
    if said["calibration_error"] is not None:
        told = f"probabilities are off by {said['calibration_error']:.4f} on average (ECE)"
        if said["log_loss"] is not None:
            told += f" · log loss {said['log_loss']:.4f}, constant's {said['log_loss_one_for_all']:.4f}"
        rows.append(("calibration", told))
    if said["coverage"] is not None and said["novelty"] is not None:
        shown = f"{100 * said['coverage']:.1f}% of the catalogue shown · novelty {said['novelty']:.1f} bits"
        rows.append(("variety", shown))
    without = int(said["users_without_list"] or 0)
    fallbacks = said["fallbacks"] | ({"judged users without a list (worth 0)": without} if without else {})
    for name, some in (("quarantine", said["quarantine"]), ("fallbacks", fallbacks)):
        rows.append((name, " · ".join(f"{reason} {count:,}" for reason, count in some.items()) or "none"))
    rows += [("next" if not at else "", step) for at, step in enumerate(said["next"])]
    lines = []
    for name, told in rows:
        parts = textwrap.wrap(told, WIDTH - 13, drop_whitespace=False) or [""]
        lines += [f"{name if not at else '':<13}{part}" for at, part in enumerate(parts)]
    return lines


def cells(values: Sequence[str], widths: Sequence[int]) -> str:
    """Values side by side; a negative width aligns left."""
    sides = "".join(f"{{:{'<' if width < 0 else '>'}{abs(width)}}}" for width in widths)
    return sides.format(*values)[:WIDTH]


def short(value: float | None, signed: bool = False, digits: int = 4) -> str:
    """``.3321``, ``+.0610``; nothing for None."""
    if value is None:
        return ""
    plain = f"{abs(value):.{digits}f}".removeprefix("0")
    return ("-" if value < 0 else "+" if signed else "") + plain


def _interval(row: Row, signed: bool = False) -> str:
    """``.3321 [.319, .345]``; nothing where there is no value."""
    if row["value"] is None or row["low"] is None:
        return short(row["value"], signed)
    return f"{short(row['value'], signed)} [{short(row['low'], signed, 3)}, {short(row['high'], signed, 3)}]"


def _count(value: float | None, digits: int = 0) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


def _bar(share: float | None) -> str:
    return "" if share is None else f"  {'█' * round(10 * share):░<10} {short(share)}"
