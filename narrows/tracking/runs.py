"""MLflow's runs: the client, experiments, one parent run per pipeline run, and what is logged to a run."""

from __future__ import annotations

import functools
import logging
import os
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from narrows.tracking.moved import follow_move

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

EXPERIMENT = "narrows"
BATCH = 100
"""MLflow refuses more parameters or tags in one request."""


class TrackingError(RuntimeError):
    """MLflow cannot do what was asked; the message names the remedy."""


@functools.cache
def tracking(uri: str) -> MlflowClient:
    """A client of the tracking server or database at `uri` (2 s once per process).

    Raises:
        TrackingError: the URI is empty or a relative SQLite path: MLflow would log into whatever folder the process
            runs in.
    """
    path = uri.removeprefix("sqlite:///").partition("?")[0] if uri.startswith("sqlite:///") else None
    if not uri or (path is not None and not Path(path).is_absolute()):
        raise TrackingError(
            f"tracking_uri = {uri!r} would depend on the folder a process runs in. Set [mlflow] tracking_uri "
            "to a server's address or to sqlite:/// and an absolute path, or leave it out: then it is SQLite "
            "in the state folder."
        )
    # with a server's address the client would print links between what a command prints for programs
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    from mlflow.tracking import MlflowClient

    for chatty in ("mlflow", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    if path is not None:
        _create_database(Path(path))
        follow_move(Path(path))
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def _create_database(path: Path) -> None:
    """Make the tables of a SQLite store that does not exist, whole or not at all.

    MLflow runs its migrations in place and unguarded: two processes at once, or a kill, would leave a ruin.
    """
    from filelock import FileLock
    from mlflow.tracking import MlflowClient

    path.parent.mkdir(parents=True, exist_ok=True)
    # the kernel's lock: it goes when the process is killed
    with FileLock(path.with_name(f".{path.name}.lock"), fallback_to_soft=False):
        if not path.exists():
            draft = path.with_name(f".{path.name}.draft")
            draft.unlink(missing_ok=True)
            MlflowClient(tracking_uri=f"sqlite:///{draft}", registry_uri=f"sqlite:///{draft}")
            draft.replace(path)


def prepare(uri: str, artifacts: Path | None = None, experiment: str = EXPERIMENT) -> str:
    """Create the database's tables and the experiment, at setup and not in the first task; harmless again.

    Args:
        artifacts: folder of the runs' files; None leaves the place to the tracking server.

    Returns:
        The experiment's id.
    """
    return ensure_experiment(tracking(uri), experiment, artifacts)


def ensure_experiment(client: MlflowClient, name: str, artifacts: Path | None = None) -> str:
    """The id of an experiment, created if it does not exist; safe when several processes do so at once.

    Raises:
        TrackingError: someone deleted the experiment, and MLflow keeps its name.
    """
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(name)
    if not experiment:
        try:
            return client.create_experiment(name, artifacts.absolute().as_uri() if artifacts else None)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            experiment = client.get_experiment_by_name(name)
    assert experiment is not None
    if experiment.lifecycle_stage != "active":
        raise TrackingError(
            f"experiment {name!r} was deleted in MLflow. Restore it with `mlflow experiments restore -x "
            f"{experiment.experiment_id}`, or choose another name in [mlflow] experiment."
        )
    return experiment.experiment_id


def parent_run(client: MlflowClient, experiment: str, run: str, asof: object, tags: Mapping[str, Any] = {}) -> str:
    """The id of a pipeline run's MLflow run, opened, and created if there is none.

    Args:
        run: what names the pipeline run, the same in all its processes, e.g. Airflow's run id.
        asof: the partition it makes.
        tags: more to find it by, e.g. the code's version.
    """
    named = {"run": run, "asof": asof, **tags}
    run_id = find_or_create(client, experiment, {"run": run}, f"{asof}", named)
    client.update_run(run_id, status="RUNNING")
    return run_id


def finish(client: MlflowClient, run_id: str, metrics: Mapping[str, Any] = {}, status: str = "FINISHED") -> None:
    """Close a pipeline run with its headline metrics; `status` is FINISHED or FAILED."""
    run = client.get_run(run_id)
    log_metrics(client, run_id, metrics, milliseconds(run.data.tags["asof"]))
    client.set_terminated(run_id, status)


def find_or_create(
    client: MlflowClient, experiment: str, key: Mapping[str, str], name: str, tags: Mapping[str, Any]
) -> str:
    """The id of the run with the tags of `key`, else of a new one; of two processes that do so at once one wins."""
    where = " and ".join(f"tags.`{k}` = '{quotable(v)}'" for k, v in key.items())

    def oldest() -> str | None:
        runs = client.search_runs([experiment], where)
        return min(((run.info.start_time, run.info.run_id) for run in runs), default=(0, None))[1]

    if existing := oldest():
        log_tags(client, existing, tags)
        return existing
    created = client.create_run(experiment, tags={k: str(v) for k, v in {**tags, **key}.items()}, run_name=name)
    first = oldest()
    if first and first != created.info.run_id:
        client.delete_run(created.info.run_id)
    return first or created.info.run_id


def log_tags(client: MlflowClient, run_id: str, tags: Mapping[str, Any]) -> None:
    """Log tags, whatever their number; values as text."""
    from mlflow.entities import RunTag

    for some in batches([RunTag(name_of(k), str(v)) for k, v in tags.items()]):
        client.log_batch(run_id, tags=some)


def log_params(client: MlflowClient, run_id: str, values: Mapping[str, Any]) -> None:
    """Log parameters, whatever their number; one that the run has keeps its value, as MLflow lets none change."""
    from mlflow.entities import Param

    known = client.get_run(run_id).data.params
    for some in batches([Param(name_of(k), str(v)) for k, v in values.items() if name_of(k) not in known]):
        client.log_batch(run_id, params=some)


def log_metrics(client: MlflowClient, run_id: str, numbers: Mapping[str, Any], at: int) -> None:
    """Log numbers as of an instant, so that the same numbers logged again are the same points."""
    from mlflow.entities import Metric

    for some in batches([Metric(name, value, at, 0) for name, value in _flat(numbers)]):
        client.log_batch(run_id, metrics=some)


def _flat(numbers: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Numbers of a nested mapping with dotted names; what is no number is left out."""
    for key, value in numbers.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif hasattr(value, "__float__"):
            yield name_of(f"{prefix}{key}"), float(value)


def name_of(name: str) -> str:
    """A name MLflow accepts: `recall@20` becomes `recall_at_20`."""
    return re.sub(r"[^\w\-. :/]", "_", name.replace("@", "_at_"))


def batches(entries: list[Any]) -> Iterator[list[Any]]:
    """The entries in lists that MLflow takes in one request."""
    return (entries[at : at + BATCH] for at in range(0, len(entries), BATCH))


def milliseconds(asof: object) -> int:
    """The start of an as-of (its text is ISO 8601) since 1970."""
    return int(datetime.fromisoformat(str(asof)).replace(tzinfo=UTC).timestamp() * 1000)


def quotable(text: str) -> str:
    """The text, if MLflow's search can quote it.

    Raises:
        TrackingError: it holds an apostrophe.
    """
    if "'" in text:
        raise TrackingError(f"{text!r} cannot name a run: MLflow's search has no way to quote an apostrophe")
    return text
