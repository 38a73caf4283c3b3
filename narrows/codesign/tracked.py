"""An experiment in MLflow: one experiment a file, a run a design, settings as parameters, what it came to as flat metrics."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from narrows.codesign.designs import flat
from narrows.codesign.summary import Row, Summary
from narrows.tracking.runs import ensure_experiment, find_or_create, log_metrics, log_params, log_tags, tracking
from narrows.version import commit

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

PREFIX = "codesign-"
"""Of the experiment's name in MLflow."""
LOGGED_AT = 0
"""The instant of all metrics: logged again they are the same points."""
REPORT = "report"
"""The run that holds the report."""


def log(summary: Summary, report: Path, uri: str, artifacts: Path | None = None) -> str:
    """Log an experiment, or log it again; the id of MLflow's experiment.

    Args:
        summary: what was found.
        report: the HTML page, an artifact of the run ``report``.
        uri: of the tracking server or database.
        artifacts: folder of the runs' files; None leaves the place to the server.
    """
    client, experiment = tracking(uri), summary.planned.experiment
    name = f"{PREFIX}{experiment.name}"
    number = ensure_experiment(client, name, artifacts)
    for row in summary.rows:
        _design(client, number, summary, row)
    run = find_or_create(
        client, number, {"design": REPORT}, REPORT, {"question": experiment.question, "code": commit()}
    )
    client.log_artifact(run, str(report))
    client.log_artifact(run, str(summary.planned.file))
    client.set_terminated(run)
    return number


def metrics_of(summary: Summary, row: Row) -> dict[str, float]:
    """The flat metrics of a design: means over seeds, the compared one with its interval, cost and money."""
    metric = summary.planned.experiment.main_metric
    at = summary.rows.index(row)
    compared = {
        f"{metric}_low": row.quality.low, f"{metric}_high": row.quality.high, f"{metric}_seed_least": min(row.seeds),
        f"{metric}_seed_most": max(row.seeds),
    }  # fmt: skip
    money = {"money_a_billion_requests": row.money, "money_training": row.training_money}
    return {**row.metrics, metric: row.quality.value, **compared, **money, "on_front": float(at in summary.front)}


def _design(client: MlflowClient, experiment: str, summary: Summary, row: Row) -> None:
    tags: dict[str, Any] = {"code": commit(), "front": summary.rows.index(row) in summary.front}
    run = find_or_create(client, experiment, {"design": _quoted(row.name)}, row.name, tags)
    settings = flat(row.design) | {
        "seeds": summary.planned.experiment.seeds,
        "trials": summary.planned.experiment.tune.trials,
    }
    tuned = {f"tuned_{name}": value for name, value in row.tuned.items() if value != settings.get(name)}
    log_params(client, run, settings)
    log_tags(client, run, tuned)
    log_metrics(client, run, metrics_of(summary, row), LOGGED_AT)
    client.set_terminated(run)


def _quoted(name: str) -> str:
    return name.replace("'", "")
