"""The MLflow experiment as a page: its kind, its description, and a saved view of quality against cost."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

from narrows.tracking.runs import name_of

KEY = "narrows"
"""Names the view in a link: ``viewStateShareKey=narrows``."""
NAME = "Quality against cost"
KIND = "custom_model_development"
"""What MLflow calls an experiment of machine learning; others open on pages for agents."""
PARENTS = "tags.judged != ''"
"""Only whole runs have this tag; a room's run has not."""
DESCRIPTION = """One run is one design as of one date; the runs of its stages lie below it.

`ndcg_at_<k>` is what the published list is worth, `ndcg_at_<k>.lead` what it adds to the best list that needs no
cascade, `cost.seconds` what making it took, stages that were found in the store included. A parameter that differs
from the defaults is a column of its own. The page docs/mlflow.md explains every name; `narrows compare` compares runs
with paired intervals. The view "Quality against cost" has the charts."""


def columns(k: int) -> list[str]:
    """The columns that the view shows, in order, as MLflow names them."""
    ndcg, recall = name_of(f"ndcg@{k}"), name_of(f"recall@{k}")
    metrics = (ndcg, f"{ndcg}.lead", "cost.seconds", f"{ndcg}.lead.low", "survival.joint", "cost.cpu_seconds",
               "cost.peak_mb", "spent.seconds", recall)  # fmt: skip
    return [
        *(f"metrics.`{name}`" for name in metrics),
        "tags.`design`",
        "tags.`cached`",
        "tags.`live`",
        "tags.`release`",
    ]


def experiment_tags(k: int) -> dict[str, str]:
    """Tags of the experiment: kind, description, primary metric, and the saved view of lists of ``k``."""
    primary = name_of(f"ndcg@{k}")
    return {
        "mlflow.experimentKind": KIND,
        "mlflow.note.content": DESCRIPTION,
        "mlflow.experiment.primaryMetric.name": primary,
        "mlflow.experiment.primaryMetric.greaterIsBetter": "True",
        f"mlflow.sharedViewState.{KEY}": view(k),
    }


def view(k: int) -> str:
    """A saved view as MLflow's pages keep it: columns, order, filter, and two charts of quality against cost."""
    primary = name_of(f"ndcg@{k}")
    charts = [scatter(number, cost, primary) for number, cost in enumerate(("cost.seconds", "cost.cpu_seconds"))]
    return saved(columns(k), charts, PARENTS, "attributes.start_time")


def saved(shown: Sequence[str], charts: Sequence[Mapping[str, Any]], where: str, order: str, abreast: int = 2) -> str:
    """A view as MLflow keeps it in a tag of the experiment.

    Args:
        shown: columns, as MLflow names them.
        charts: see `scatter` and `parallel`.
        where: MLflow's filter of the runs.
        order: the column by which they are ordered, largest first.
        abreast: how many charts stand side by side.
    """
    state = {
        "searchFilter": where, "orderByKey": order, "orderByAsc": False, "startTime": "ALL",
        "lifecycleFilter": "Active", "modelVersionFilter": "All Runs", "datasetsFilter": [],
        "selectedColumns": shown, "columnOrder": shown, "columnWidths": {name: 40 + 6 * len(name.split("`")[1]) for name in shown},
        "runsHiddenMode": "SHOW_ALL", "compareRunCharts": charts, "isAccordionReordered": True,
        "compareRunSections": [{"uuid": KEY, "name": NAME, "display": True, "isReordered": True, "deleted": False,
                                "isGenerated": False, "columns": abreast, "cardHeight": 420}],
        "viewMaximized": False, "runListHidden": False, "hideEmptyCharts": True, "groupBy": None, "groupsExpanded": {},
        "useGroupedValuesInCharts": True,
    }  # fmt: skip
    return json.dumps({"name": NAME, "createdAt": 0, "updatedAt": 0, "state": json.dumps(state)})


def scatter(number: int, cost: str, quality: str) -> dict[str, Any]:
    """A chart of one metric against another."""
    axes = {"xaxis": {"key": cost, "type": "METRIC"}, "yaxis": {"key": quality, "type": "METRIC"}}
    return _chart(number) | {"type": "SCATTER", **axes}


def parallel(number: int, params: Sequence[str], metrics: Sequence[str]) -> dict[str, Any]:
    """A chart with an axis for each of some parameters and metrics, and a line for each run."""
    return _chart(number) | {
        "type": "PARALLEL", "selectedParams": list(params), "selectedMetrics": list(metrics), "showAllRuns": True,
    }  # fmt: skip


def _chart(number: int) -> dict[str, Any]:
    return {
        "uuid": f"{KEY}-{number}", "metricSectionId": KEY, "runsCountToCompare": 100, "deleted": False, "isGenerated": False,
    }  # fmt: skip


def link(address: str, experiment: str) -> str:
    """The view's address on an MLflow server; the kind is in it, as a browser remembers the last one."""
    return (
        f"{address.rstrip('/')}/#/experiments/{experiment}/runs?workflowType=machine_learning&viewStateShareKey={KEY}"
    )


def run_link(address: str, experiment: object, run: str) -> str:
    """A run's address on an MLflow server, on the pages for models."""
    return f"{address.rstrip('/')}/#/experiments/{experiment}/runs/{run}?workflowType=machine_learning"


def address(server: str, experiment: str) -> str:
    """The view's address on a server that runs; the server's own where it does not know the experiment yet."""
    query = urllib.parse.urlencode({"experiment_name": experiment})
    path = f"{server.rstrip('/')}/api/2.0/mlflow/experiments/get-by-name?{query}"
    try:
        with urllib.request.urlopen(path, timeout=10) as answer:
            return link(server, json.load(answer)["experiment"]["experiment_id"])
    except (OSError, ValueError, KeyError):
        return server
