"""A run that failed in Airflow is FAILED in MLflow too: ``python -m narrows.cli.airflow.failed RUN_ID ...``."""

from __future__ import annotations

import sys


def main(run_ids: list[str]) -> int:
    """Mark the pipeline runs of these names that MLflow has and that are open; 0."""
    from narrows.settings import load_settings
    from narrows.tracking import runs

    settings = load_settings()
    local = settings.tracking_uri.removeprefix("sqlite:///")
    if not settings.mlflow.tracking_uri and not (settings.base / local).exists():
        return 0  # nothing was ever logged
    client = runs.tracking(settings.tracking_uri)
    if experiment := client.get_experiment_by_name(settings.mlflow.experiment):
        for run_id in run_ids:
            where = f"tags.run = '{runs.quotable(run_id)}' and attributes.status = 'RUNNING'"
            for found in client.search_runs([experiment.experiment_id], where):
                client.set_terminated(found.info.run_id, "FAILED")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
