"""An experiment of the lab on MLflow's pages: its kind, its question, and a saved view that compares designs."""

from __future__ import annotations

from typing import Any

from narrows.cli.mlflow.saved_view import KEY, KIND, parallel, saved, scatter
from narrows.codesign.designs import differing
from narrows.codesign.summary import Summary
from narrows.codesign.tracked import REPORT

MONEY = "money_a_billion_requests"
COSTS = ("flops", "cpu_seconds", MONEY)
AXES = 3
"""Settings that the parallel coordinates have, the first in which designs differ."""


def experiment_tags(summary: Summary) -> dict[str, str]:
    """Tags of the experiment; the view has a table, parallel coordinates, and quality against money and operations."""
    experiment = summary.planned.experiment
    metric = experiment.main_metric
    said = f"{experiment.question} One run is one design; the run `{REPORT}` has the report. What every name means: docs/codesign.md."
    return {
        "mlflow.experimentKind": KIND,
        "mlflow.note.content": said.strip(),
        "mlflow.experiment.primaryMetric.name": metric,
        "mlflow.experiment.primaryMetric.greaterIsBetter": "True",
        f"mlflow.sharedViewState.{KEY}": view(summary),
    }


def view(summary: Summary) -> str:
    """The saved view: the settings in which designs differ beside quality and cost."""
    metric, settings = summary.planned.experiment.main_metric, differing(summary.planned.designs)
    metrics = dict.fromkeys(
        (metric, f"{metric}_low", f"{metric}_high", *COSTS, "joint_recall", "ndcg", "train_cpu_seconds")
    )
    shown = [*(f"params.`{name}`" for name in settings), *(f"metrics.`{name}`" for name in metrics)]
    charts: list[dict[str, Any]] = [
        parallel(0, settings[:AXES], [*COSTS, metric]), scatter(1, MONEY, metric), scatter(2, "flops", metric),
    ]  # fmt: skip
    return saved(shown, charts, f"tags.design != '{REPORT}'", f"metrics.`{metric}`", abreast=1)
