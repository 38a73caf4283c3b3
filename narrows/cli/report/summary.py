"""The values of the report at the end of a run, as plain JSON values."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from narrows.cli.layout import Row

NOTHING = {"value": None, "low": None, "high": None, "users": None}
COSTS = ("rows_in", "rows_out", "seconds", "cpu_seconds", "peak_mb", "past_seconds", "past_cpu_seconds")
PUBLISHER = "recommendations"
"""The room whose lists are the published ones."""
BINS = ("predicted", "observed", "rows")
"""What the evaluation says of a bin of the calibration curve."""
Key = tuple[str, str, str, str, int, str]
HEADLINES: dict[str, tuple[str, str, str, str, str]] = {
    "users_without_list": ("all", "published", "published", "users_without_list", ""),
    "joint_survival": ("all", "flow", "published", "joint_survival", ""),
    "calibration_error": ("candidates", "calibration", "rank", "ece", ""),
    "log_loss": ("candidates", "calibration", "rank", "log_loss", ""),
    "log_loss_one_for_all": ("candidates", "calibration", "rank", "log_loss", "one for all"),
}
AT_K = {
    "coverage": ("served", "published", "published", "coverage"),
    "novelty": ("all", "published", "published", "novelty"),
}


def summary(
    evaluation: Iterable[Row],
    costs: Mapping[str, Mapping[str, float | None]],
    *,
    asof: str,
    rooms: Sequence[str] = (),
    narrowing: Sequence[str] = (),
    k: int = 0,
    source: str = "",
    horizon: str = "",
    due: str = "",
    known_until: str = "",
    serving: Mapping[str, Any] | None = None,
    kinds: Mapping[str, int] | None = None,
    quarantine: Mapping[str, int] | None = None,
    fused: Mapping[str, float] | None = None,
    stood_back: Sequence[Row] = (),
    contract_warnings: Sequence[str] = (),
    fallbacks: Mapping[str, int] | None = None,
    next_steps: Sequence[str] = (),
) -> dict[str, Any]:
    """All that the report says, as JSON values.

    Args:
        evaluation: the rows of the evaluation room's table; none where the horizon has not closed yet.
        costs: per room seconds, cpu_seconds, peak_mb, rows_in, rows_out, and past_seconds and past_cpu_seconds: what
            the run spent on top for earlier windows, model fits included; any may be missing.
        asof: the partition.
        rooms: the pipeline's rooms in order; none = those of ``costs``.
        narrowing: those of them that narrow, where ``evaluation`` has no rows to say so.
        k: the length of the lists that are compared, where ``evaluation`` has no row to say so.
        source: the data set.
        horizon: the time after the as-of that the lists are judged on, e.g. ``7 days``.
        due: the last as-of of the horizon; the lists are judged when it has closed.
        known_until: the last day or hour with events.
        serving: of ``reading.state``, and ``release_id``.
        kinds: events known at the as-of, by kind.
        quarantine: bad source rows by reason.
        fused: of the pass over the users outside the flow sample: ``users``, and ``rows.ROOM`` and ``cpu.ROOM`` seconds.
        stood_back: the rooms whose model gave way to a simple order: ``room``, ``order``, and the NDCG of both.
        contract_warnings: what contracts warn of, a line each, with the table first.
        fallbacks: what a person should know was replaced, e.g. ``users without candidates``, by count.
        next_steps: lines that say what to do now.
    """
    rows: dict[Key, Row] = {
        (row["population"], row["kind"], row["list"], row["metric"], row["k"], row["detail"]): row for row in evaluation
    }
    k = max((key[4] for key in rows if key[1] == "published"), default=0) or k
    facts: dict[str, Any] = {"asof": asof, "source": source, "horizon": horizon, "k": k}
    facts |= {"judged": bool(rows), "due": due, "known_until": known_until, "serving": dict(serving or {})}
    narrowing = list(dict.fromkeys(key[2] for key in rows if key[:2] == ("all", "stage"))) or list(narrowing)
    facts["narrowing"] = narrowing
    facts["stages"] = [_stage(room, rows, k, costs.get(room, {}), narrowing[:1]) for room in rooms or costs]
    facts["orders"] = [_list("stage", name, rows, k) for name in narrowing]
    names = dict.fromkeys((key[1], key[2]) for key in rows if key[1] in ("published", "channel", "baseline"))
    facts["lists"] = [_list(kind, name, rows, k) for kind, name in names]
    facts["steps"] = [
        {"step": key[2], "against": key[5], "metric": key[3], "share": _relative(key, rows), **row}
        for key, row in rows.items()
        if key[0] == "all" and key[1] == "difference" and key[2] != "published"
    ]
    facts["ledger"] = [
        {"stage": key[2], "reason": key[5], "count": int(row["value"])}
        for key, row in rows.items()
        if key[0] == "all" and key[1] == "ledger" and key[3] == "count"
    ]
    facts["gates"] = [_gate(key[2], rows) for key in rows if key[:2] == ("all", "flow") and key[3] == "survival"]
    facts["calibration"] = [
        {"bin": key[4], **{name: rows.get((*key[:3], name, key[4], ""), NOTHING)["value"] for name in BINS}}
        for key in rows
        if key[:4] == ("candidates", "calibration", "rank", BINS[0])
    ]
    keys: dict[str, Key] = {name: (*key[:4], 0, key[4]) for name, key in HEADLINES.items()}
    keys |= {name: (*key, k, "") for name, key in AT_K.items()}
    facts |= {name: rows.get(key, NOTHING)["value"] for name, key in keys.items()}
    facts["users"] = rows.get(("all", "published", "published", "recall", k, ""), NOTHING)["users"]
    return facts | {
        "kinds": dict(kinds or {}),
        "quarantine": dict(quarantine or {}),
        "fused": _fused(fused or {}, narrowing),
        "stood_back": [dict(each) for each in stood_back],
        "contract_warnings": list(contract_warnings),
        "fallbacks": dict(fallbacks or {}),
        "next": list(next_steps),
    }


def _fused(counts: Mapping[str, float], rooms: Sequence[str]) -> list[dict[str, Any]]:
    """By room, in order: rows received, CPU seconds, milliseconds a user and microseconds a row; none where nobody was."""
    found, users = [], int(counts.get("users", 0))
    for room in rooms if users else ():
        cpu, rows = counts[f"cpu.{room}"], int(counts[f"rows.{room}"])
        each = {"ms_a_user": 1e3 * cpu / users, "us_a_row": 1e6 * cpu / rows if rows else None}
        found.append({"room": room, "users": users, "rows": rows, "cpu_seconds": cpu, **each})
    return found


def to_json(facts: Row) -> str:
    """The summary as JSON text."""
    return json.dumps(facts, indent=1, default=str)


def _stage(
    room: str, rows: Mapping[Key, Row], k: int, cost: Mapping[str, float | None], first: Sequence[str]
) -> dict[str, Any]:
    """A room's line; ``survival`` counts positives: of the ``first`` narrowing room out of all, else of the received."""
    kind, name = ("published", "published") if room == PUBLISHER else ("stage", room)
    survival = ("all", "flow", name, "joint_survival" if room in first else "survival", 0, "")
    stage = {"room": room, **{key: cost.get(key) for key in COSTS}}
    stage["survival"] = rows.get(survival, NOTHING)["value"]
    for metric in ("recall", "ndcg"):
        stage[metric] = rows.get(("all", kind, name, metric, k, ""), NOTHING)["value"]
    return stage


def _list(kind: str, name: str, rows: Mapping[Key, Row], k: int) -> dict[str, Any]:
    keys: dict[str, Key] = {
        "recall": ("all", kind, name, "recall", k, ""),
        "ndcg": ("all", kind, name, "ndcg", k, ""),
        "new_recall": ("new", kind, name, "recall", k, ""),
        "coverage": ("served", kind, name, "coverage", k, ""),
        "lead": ("all", "difference", "published", "recall", k, f"{kind} {name}"),
        "ndcg_lead": ("all", "difference", "published", "ndcg", k, f"{kind} {name}"),
    }
    numbers = {what: rows.get(key, NOTHING) for what, key in keys.items()}
    return {"kind": kind, "list": name, **{what: {key: row[key] for key in NOTHING} for what, row in numbers.items()}}


def _gate(name: str, rows: Mapping[Key, Row]) -> dict[str, Any]:
    """How many positives reach a gate and pass it, and both shares with their intervals."""
    gate: dict[str, Any] = {"gate": name}
    for metric in ("positives_received", "positives_passed"):
        gate[metric.removeprefix("positives_")] = rows.get(("all", "flow", name, metric, 0, ""), NOTHING)["value"]
    for metric in ("survival", "joint_survival"):
        row = rows.get(("all", "flow", name, metric, 0, ""), NOTHING)
        gate[metric] = {key: row[key] for key in NOTHING}
    return gate


def _relative(key: Key, rows: Mapping[Key, Row]) -> float | None:
    """A difference as a share of what it is measured against."""
    before = rows.get(("all", "stage", key[5].removeprefix("stage "), key[3], key[4], ""), NOTHING)["value"]
    return rows[key]["value"] / before if before and rows[key]["value"] is not None else None
