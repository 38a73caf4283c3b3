"""A pipeline run as a whole in MLflow: its name, design and description, and the versions that it made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from narrows.tracking.models import RELEASE
from narrows.tracking.runs import (
    find_or_create,
    log_metrics,
    log_params,
    log_tags,
    milliseconds,
    name_of,
    quotable,
)

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

    from narrows.asof import Asof

LONGEST_TAG = 5000
"""Characters of a tag's value; some of MLflow's databases take no more."""


def describe(
    client: MlflowClient,
    run_id: str,
    name: str,
    params: Mapping[str, Any],
    tags: Mapping[str, Any],
    experiment: Mapping[str, str],
) -> None:
    """Name a run, log its parameters and tags, and set the tags of its experiment.

    Args:
        client: of `tracking`.
        run_id: the pipeline run.
        name: empty = it keeps its name.
        params: by name; one that the run has keeps its value.
        tags: by name.
        experiment: tags of the experiment; one that has the value is not written.
    """
    run = client.get_run(run_id)
    if name:
        client.update_run(run_id, name=name)
    log_params(client, run_id, params)
    log_tags(client, run_id, {key: str(value)[:LONGEST_TAG] for key, value in tags.items()})
    known = client.get_experiment(run.info.experiment_id).tags if experiment else {}
    for key, value in experiment.items():
        if known.get(key) != value:
            client.set_experiment_tag(run.info.experiment_id, key, value)


def cached_child(client: MlflowClient, parent: str, room: str, asof: object, table: Mapping[str, Any]) -> None:
    """A child run for a room that was found in the store: ``version``, ``made_by`` and the ``cost`` of making it."""
    above = client.get_run(parent)
    key = {"mlflow.parentRunId": parent, "room": room, "asof": str(asof)}
    tags = {"cached": "true", "version": table["version"], "made_by": table["made_by"]}
    run_id = find_or_create(client, above.info.experiment_id, key, room, tags)
    log_metrics(client, run_id, {"cost": table["cost"]}, milliseconds(asof))
    client.set_terminated(run_id)


def log_series(client: MlflowClient, run_id: str, series: Mapping[str, Sequence[tuple[Asof, float]]]) -> None:
    """Log metrics that have a value for each of several as-ofs."""
    from mlflow.entities import Metric

    points = [
        Metric(name_of(key), value, int(asof.end.timestamp() * 1000), asof.period)
        for key, values in series.items()
        for asof, value in values
    ]
    if points:
        client.log_batch(run_id, metrics=points)


def tag_versions(client: MlflowClient, parent: str, release: str, tags: Mapping[str, Any], text: str = "") -> None:
    """Tag the models that a run registered, and its release, e.g. with the design and the quality.

    Args:
        client: of `tracking`.
        parent: the pipeline run.
        release: the id of its release in the serving database; empty = it made none.
        tags: by name.
        text: their description; empty = they keep theirs.
    """
    run = client.get_run(parent)
    children = client.search_runs([run.info.experiment_id], f"tags.`mlflow.parentRunId` = '{parent}'")
    own = [child.data.tags for child in children if "model_version" in child.data.tags]
    versions = [(tag["room"], tag["model_version"]) for tag in own if tag["asof"] == run.data.tags["asof"]]
    if release:
        found = client.search_model_versions(f"name = '{RELEASE}' and tags.published = '{quotable(release)}'")
        versions += [(RELEASE, str(each.version)) for each in found]
    for name, version in versions:
        if text:
            client.update_model_version(name, version, text)
        for key, value in tags.items():
            client.set_model_version_tag(name, version, name_of(key), str(value))


def judge_earlier(client: MlflowClient, parent: str, release: str, quality: Mapping[str, Any]) -> None:
    """Log the quality of a release to the runs that made it before it could be judged; they name this run."""
    run = client.get_run(parent)
    where = f"tags.release = '{quotable(release)}' and tags.judged = 'false'"
    for earlier in client.search_runs([run.info.experiment_id], where):
        if earlier.info.run_id != parent:
            log_metrics(client, earlier.info.run_id, quality, milliseconds(earlier.data.tags["asof"]))
            log_tags(client, earlier.info.run_id, {"judged": "true", "judged_by": run.data.tags["run"]})
