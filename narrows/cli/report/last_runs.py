"""The quality of the last runs, out of their records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from narrows.asof import Asof
from narrows.cli.report.record import read_all

LAST = 30
"""As-ofs of the curve."""


def last_judged(state: Path, source: str, until: str) -> list[dict[str, Any]]:
    """What the published lists of the last as-ofs were worth, oldest first: ``asof``, ``k``, ``users``, ``recall``, ``ndcg`` and
    ``lead`` over the best simple list in recall, each of the three with ``value``, ``low`` and ``high``; of an as-of the newest run.
    """
    found: dict[str, dict[str, Any]] = {}
    for each in read_all(state):
        if each["source"] == source and each["asof"] <= until and (point := _point(each)):
            found[each["asof"]] = point
    return [found[asof] for asof in sorted(found)[-LAST:]]


def _point(entry: dict[str, Any]) -> dict[str, Any] | None:
    from narrows.cli.mlflow.logged import best_simple

    facts = entry["facts"]
    own = next((each for each in facts["lists"] if each["kind"] == "published"), None)
    if not facts["users"] or not own or own["recall"]["value"] is None:
        return None
    best = best_simple(facts)
    return {
        "asof": entry["asof"], "number": entry["number"], "k": facts["k"], "users": facts["users"],
        **{name: own[name] for name in ("recall", "ndcg")}, "lead": best["lead"] if best else {},
        "best": f"{best['kind']} {best['list']}" if best else "",
    }  # fmt: skip


def series(state: Path, source: str, until: Asof) -> dict[str, list[tuple[Asof, float]]]:
    """The same as series by name, for a chart of MLflow: of each as-of its value."""
    points = last_judged(state, source, str(until))
    named = {f"last_runs.{name}@{points[-1]['k']}": name for name in ("recall", "ndcg", "lead")} if points else {}
    return {
        key: [
            (Asof.parse(each["asof"], until.grain), each[name]["value"])
            for each in points
            if each[name].get("value") is not None
        ]
        for key, name in named.items()
    }
