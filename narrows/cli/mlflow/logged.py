"""What MLflow is told of a whole run: its record as metrics, parameters, tags and a description.

The page docs/mlflow.md explains every name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from narrows.cli.report.screen import why_not_judged
from narrows.config.design import design_name

Record = Mapping[str, Any]
QUALITY = ("ndcg", "recall")
LEADS = {"ndcg": "ndcg_lead", "recall": "lead"}
SIMPLE = ("channel", "baseline")
"""Kinds of lists that need no cascade."""
SPENT = ("seconds", "cpu_seconds")
COST = ("seconds", "cpu_seconds", "peak_mb", "rows_in", "rows_out", "past_seconds", "past_cpu_seconds")
FLAT = ("users", "users_without_list", "calibration_error", "log_loss")


def closing(record: Record) -> dict[str, Any]:
    """All that ``RunLog.finish`` takes, from the record of a run."""
    from narrows.cli.mlflow.saved_view import experiment_tags

    quality = {name: value for name, value in quality_of(record["facts"]).items() if value is not None}
    return {
        "name": record["name"], "metrics": metrics(record), "params": params(record), "tags": tags(record),
        "cached": cached_rooms(record), "release": record["facts"]["serving"].get("release_id", ""),
        "quality": quality, "summary": summary_line(record), "experiment": experiment_tags(record["facts"]["k"]),
    }  # fmt: skip


def metrics(record: Record) -> dict[str, Any]:
    """Numbers by name, nested; what has no value is left out."""
    facts, stages = record["facts"], record["facts"]["stages"]
    cached = {room for room, table in record["tables"].items() if table["cached"]}
    own = [stage for stage in stages if stage["room"] not in cached]
    cost: dict[str, Any] = {stage["room"]: {key: stage[key] for key in COST} for stage in stages}
    cost |= {key: _sum(stages, key) for key in SPENT}
    cost["peak_mb"] = max((stage["peak_mb"] or 0 for stage in stages), default=0)
    survival = {stage["room"]: stage["survival"] for stage in stages}
    return quality_of(facts) | {
        "after": {
            stage["room"]: {f"{name}@{facts['k']}": stage[name] for name in QUALITY}
            for stage in stages
            if stage["room"] in facts["narrowing"]
        },
        "survival": survival | {"joint": facts["joint_survival"]},
        "cost": cost,
        "past": {key: _sum(stages, f"past_{key}") for key in SPENT},
        "spent": {key: _sum(own, key) + _sum(own, f"past_{key}") for key in SPENT},
        "cached": {room: int(room in cached) for room in record["tables"]},
        "against_previous": record.get("against", {}).get("difference", {}),
        **{name: facts[name] for name in FLAT},
        f"coverage@{facts['k']}": facts["coverage"],
        f"novelty@{facts['k']}": facts["novelty"],
    }


def quality_of(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What the published list is worth, with intervals, and its lead over the best simple list."""
    published, best = _published(facts), best_simple(facts)
    numbers: dict[str, Any] = {}
    for name in QUALITY if published else ():
        at_k = f"{name}@{facts['k']}"
        row, lead = published[name], best[LEADS[name]] if best else {}
        numbers |= {at_k: row["value"], f"{at_k}.low": row["low"], f"{at_k}.high": row["high"]}
        numbers |= {f"{at_k}.lead": lead.get("value")}
        numbers |= {f"{at_k}.lead.{end}": lead.get(end) for end in ("low", "high")}
    return numbers


def best_simple(facts: Mapping[str, Any]) -> Mapping[str, Any]:
    """The channel or baseline whose list has the highest NDCG; empty where nothing is judged."""
    simple = [each for each in facts["lists"] if each["kind"] in SIMPLE and each["ndcg"]["value"] is not None]
    return max(simple, key=lambda each: each["ndcg"]["value"], default={})


def params(record: Record) -> dict[str, Any]:
    """As-of, source and horizon, and the settings that differ from the defaults."""
    return {name: record[name] for name in ("asof", "source", "horizon", "grain")} | record["design"]


def tags(record: Record) -> dict[str, Any]:
    """What a run is found by, and its description."""
    facts, best = record["facts"], best_simple(record["facts"])
    return {
        "number": record["number"],
        "design": design_name(record["design"]),
        "release": facts["serving"].get("release_id", ""),
        "live": str(facts["serving"].get("live", False)).lower(),
        "judged": str(bool(facts["users"])).lower(),
        "best_simple_list": f"{best['kind']} {best['list']}" if best else "",
        "cached": ", ".join(cached_rooms(record)),
        "stood_back": ", ".join(f"{each['room']}: {each['order']}" for each in facts.get("stood_back", ())),
        "previous": record.get("against", {}).get("name", ""),
        "contract_warnings": str(len(facts.get("contract_warnings", ()))),
        "worse_than_previous": str(bool(record.get("against", {}).get("warning"))).lower(),
        "mlflow.note.content": note(record),
    }


def cached_rooms(record: Record) -> dict[str, dict[str, Any]]:
    """The rooms that were found in the store: version, ``made_by`` and what making them cost."""
    tables = record["tables"]
    return {
        stage["room"]: {
            "version": tables[stage["room"]]["version"],
            "made_by": tables[stage["room"]]["made_by"],
            "cost": {key: stage[key] for key in COST},
        }
        for stage in record["facts"]["stages"]
        if tables.get(stage["room"], {}).get("cached")
    }


def summary_line(record: Record) -> str:
    """The run's name and quality in one line, the description of the versions that it registered."""
    published, best, k = _published(record["facts"]), best_simple(record["facts"]), record["facts"]["k"]
    if not record["facts"]["users"] or not published:
        return f"{record['name']}: not judged yet"
    line = f"{record['name']}: ndcg@{k} {_interval(published['ndcg'])}"
    if best and best["ndcg_lead"]["value"] is not None:
        line += f", {_interval(best['ndcg_lead'], '+')} over {best['kind']} {best['list']}"
    return line


def note(record: Record) -> str:
    """The description of a run, in Markdown."""
    facts, numbers = record["facts"], metrics(record)
    k, published, best = facts["k"], _published(facts), best_simple(facts)
    lines = [f"**{record['name']}**, run {record['number']} on {record['source']}."]
    if facts["users"] and published:
        lead = best["ndcg_lead"] if best else {}
        lines.append(f"ndcg@{k} {_interval(published['ndcg'])}, recall@{k} {_interval(published['recall'])}.")
        if lead.get("value") is not None:
            lines.append(f"Lead over {best['kind']} {best['list']}: ndcg@{k} {_interval(lead, '+')}.")
        lines.append(
            f"{facts['joint_survival']:.1%} of the positives reached the list; {facts['users']:,} users judged."
        )
    else:
        lines.append(f"Not judged yet: {why_not_judged(facts)}.")
    lines += [
        f"**{each['room']} orders by {each['order']}**: its model was not better."
        for each in facts.get("stood_back", ())
    ]
    if warning := record.get("against", {}).get("warning"):
        lines.append(f"**Warning: {warning}**")
    lines += [f"**Contract of {line}**" for line in facts.get("contract_warnings", ())]
    cost, spent = numbers["cost"], numbers["spent"]
    lines.append(
        f"Made with {cost['seconds']:.0f} s and {cost['cpu_seconds']:.0f} CPU s, at most {cost['peak_mb']:,.0f} MB; "
        f"{spent['seconds']:.0f} s of this run, earlier windows included."
    )
    if cached := cached_rooms(record):
        makers = dict.fromkeys(table["made_by"] for table in cached.values())
        rooms = {by: ", ".join(room for room, table in cached.items() if table["made_by"] == by) for by in makers}
        made = "; ".join(f"{names} (by {by})" for by, names in rooms.items())
        lines.append(f"Found in the store, counted with the cost of making them: {made}.")
    lines.append(f"Report: `narrows report --asof {record['asof']}`. Data docs: `narrows ui`. Names: docs/mlflow.md.")
    return "\n\n".join(lines)


def _published(facts: Mapping[str, Any]) -> Mapping[str, Any]:
    return next((each for each in facts["lists"] if each["kind"] == "published"), {})


def _interval(row: Mapping[str, Any], sign: str = "") -> str:
    if row["low"] is None:
        return f"{row['value']:{sign}.4f}"
    return f"{row['value']:{sign}.4f} [{row['low']:{sign}.4f}, {row['high']:{sign}.4f}]"


def _sum(stages: Any, key: str) -> float:
    return sum(stage[key] or 0 for stage in stages)
