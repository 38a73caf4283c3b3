"""All numbers of a run: the table, its headlines for the tracker, and the tables beside it."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from narrows.stage import Output
from stages.evaluation import cascade, quality
from stages.evaluation.ledger import ledger
from stages.evaluation.run import MetricRows, Run


def assess(run: Run, bins: int) -> Output:
    """Judge a run; see ``Evaluation`` for what comes out."""
    out = MetricRows()
    quality.judge(run.judged(), out)
    if run.sample is not None:  # what the stages did is of its users
        quality.judge([run], out)
    outcomes = cascade.outcomes_of(run)
    cascade.calibration(run, bins, out)
    cascade.flow(run, outcomes, out)
    cascade.widths(run, out)
    table = out.table()
    sides = {"outcomes": outcomes, "ledger": ledger(outcomes, run.rooms)}
    return Output(table, headlines(table, run.depth), sides)


def headlines(table: pa.Table, k: int) -> dict[str, Any]:
    """The few numbers a tracker should plot: flat names to floats, e.g. ``recall_20`` and ``survival_prerank``."""
    plotted: dict[str, Any] = {}
    for row in table.to_pylist():
        population, kind, name, metric = (row[key] for key in ("population", "kind", "list", "metric"))
        prefix = "" if population == "all" else f"{population}_"
        if row["value"] is None:
            continue
        if kind == "published" and row["k"] == k and metric != "coverage":
            plotted[f"{prefix}{metric}_{k}"] = row["value"]
        elif metric == "coverage" and kind == "published":
            plotted[f"coverage_{k}"] = row["value"]
        elif kind == "stage" and population == "all" and row["k"] == k and metric in ("recall", "ndcg"):
            plotted[f"{metric}_{k}_after_{name}"] = row["value"]
        elif metric == "survival" and population == "all":
            plotted[f"survival_{name}"] = row["value"]
        elif metric == "ece":
            plotted["calibration_error"] = row["value"]
    return plotted
