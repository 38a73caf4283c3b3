"""MLflow: the settings, inputs, metrics and cost of each room, the versions of every model, and which release serves.

A pipeline run is a parent run; every room has a child run below it, whichever process it ran in. A model is a
folder of plain files, registered under its room's name and known by its fingerprint. The release is a
registered model too: its versions are manifests, and its alias `champion` is the one pointer that decides
what serves.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from narrows.tracking.runs import (
    TrackingError,
    ensure_experiment,
    find_or_create,
    finish,
    log_metrics,
    log_params,
    log_tags,
    milliseconds,
    name_of,
    parent_run,
    prepare,
    quotable,
    tracking,
)

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

    from narrows.audit.contract import Audit

__all__ = [
    "Logged",
    "TrackingError",
    "champion",
    "ensure_experiment",
    "find",
    "finish",
    "load",
    "log_room",
    "parent_run",
    "prepare",
    "promote",
    "register",
    "register_release",
    "tracking",
]

RELEASE = "release"
CHAMPION = "champion"
NEWEST = "newest"
"""The alias of the version of the newest as-of: versions are numbered as they are made, replays too."""


@dataclass(frozen=True)
class Logged:
    """A room's child run, and its model's version in the registry (None where it logged no model)."""

    run_id: str
    version: str | None


def log_room(
    client: MlflowClient,
    parent: str,
    room: str,
    *,
    fingerprint: str,
    asof: object,
    settings: Mapping[str, Any],
    inputs: Mapping[str, str],
    metrics: Mapping[str, Any],
    cost: Mapping[str, float],
    audit: Audit | None = None,
    tags: Mapping[str, Any] = {},
    model_folder: Path | None = None,
    registered: bool = True,
) -> Logged:
    """Log what a room did for a partition, and register its model.

    A room's partition has one child run below `parent`; what a room fitted (with `model_folder`) and what it
    made of it (without) may be logged in two calls. Logging the same again changes nothing.

    Args:
        client: of `tracking`.
        parent: the pipeline run.
        room: its name.
        fingerprint: of the model where `model_folder` is given, else of the table; a model's fingerprint has one
            version only.
        asof: the partition.
        settings: the room's, the parameters of the run.
        inputs: the version of each table it read: tags `input.<table>`.
        metrics: numbers, nested as they come: `{"recall@20": .3, "survival": {"rank": .9}}` makes `recall_at_20` and
            `survival.rank`. What is no number is left out.
        cost: `seconds`, `cpu_seconds`, `peak_mb`: metrics `cost.<name>`, and `fit_cost.<name>` with `model_folder`.
        audit: what the contract's audit found.
        tags: more to find it by, e.g. the data interval and the code's version.
        model_folder: the model's files.
        registered: whether the model becomes a version in the registry; one that a first run fitted for its past is
            not: it would look like the newest.
    """
    above = client.get_run(parent)
    key = {"mlflow.parentRunId": parent, "room": room, "asof": str(asof)}
    name = room if above.data.tags.get("asof") == str(asof) else f"{room} {asof}"
    run_id = find_or_create(client, above.info.experiment_id, key, name, {})
    labels = {**tags, **{f"input.{table}": version for table, version in inputs.items()}}
    labels["model_fingerprint" if model_folder else "fingerprint"] = fingerprint
    numbers = {**metrics, "fit_cost" if model_folder else "cost": cost}
    if audit:
        labels["contract"] = "warns" if audit.success and audit.warnings else "held" if audit.success else "broken"
        failed, warned = len(audit.failed) + len(audit.alarms), len(audit.warnings)
        numbers["contract"] = {"checked": audit.checked, "failed": failed, "warned": warned}
        client.log_text(run_id, audit.to_json(), "audit.json")
    version = None
    if model_folder and registered:
        described = {key: tags[key] for key in ("source", "code") if key in tags}
        described |= {"asof": asof, **{f"input.{table}": name for table, name in inputs.items()}}
        version = labels["model_version"] = register(client, room, model_folder, fingerprint, run_id, described)
        _point_newest(client, room, version, str(asof))
    elif model_folder:
        client.log_artifacts(run_id, str(model_folder), f"model/{fingerprint[:16]}")
    log_params(client, run_id, settings)
    log_tags(client, run_id, labels)
    log_metrics(client, run_id, numbers, milliseconds(asof))
    run = client.get_run(run_id)
    spent = sum(v for k, v in run.data.metrics.items() if k in ("cost.seconds", "fit_cost.seconds"))
    broken = audit is not None and not audit.success
    client.set_terminated(run_id, "FAILED" if broken else "FINISHED", run.info.start_time + int(1000 * spent))
    return Logged(run_id, version)


def register(
    client: MlflowClient, name: str, folder: Path, fingerprint: str, run_id: str, tags: Mapping[str, Any] = {}
) -> str:
    """The registered version of a model: the one with this fingerprint, else a new one of these files, with `tags`."""
    if version := find(client, name, fingerprint):
        return version
    place = f"model/{fingerprint[:16]}"  # a run logged again after a change keeps the older version's files
    client.log_artifacts(run_id, str(folder), place)
    _ensure_model(client, name)
    location = f"{client.get_run(run_id).info.artifact_uri}/{place}"
    labels = {name_of(key): str(value) for key, value in tags.items()} | {"fingerprint": fingerprint}
    return str(client.create_model_version(name, location, run_id, tags=labels).version)


def _point_newest(client: MlflowClient, name: str, version: str, asof: str) -> None:
    """Let the alias `newest` be this version, unless it is on one of a later as-of: a replay is not the newest."""
    aliases = client.get_registered_model(name).aliases
    if NEWEST in aliases:
        newest = client.get_model_version(name, str(aliases[NEWEST]))
        if newest.tags.get("asof", "") > asof:
            return
    client.set_registered_model_alias(name, NEWEST, version)


def find(client: MlflowClient, name: str, fingerprint: str) -> str | None:
    """The version of a model that has this fingerprint, or None."""
    versions = client.search_model_versions(f"name = '{name}' and tags.fingerprint = '{quotable(fingerprint)}'")
    return str(min(int(version.version) for version in versions)) if versions else None


def load(client: MlflowClient, name: str, version: str = CHAMPION, folder: Path | None = None) -> Path:
    """A local folder with the files of a model: where they lie, or, of a remote store, a copy.

    Args:
        version: a version's number or an alias.
        folder: where to copy them; None = where they lie if that is local, else a temporary folder.

    Raises:
        TrackingError: no such model, version or alias.
    """
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    try:
        by = client.get_model_version if version.isdigit() else client.get_model_version_by_alias
        source = by(name, version).source
    except MlflowException as error:
        raise TrackingError(f"no version {version!r} of the model {name!r}: {error.message}") from None
    where = str(folder) if folder else None
    return Path(download_artifacts(artifact_uri=source, dst_path=where, tracking_uri=client.tracking_uri))


def register_release(client: MlflowClient, run_id: str, manifest: Mapping[str, Any], published: str = "") -> str:
    """Register a manifest (JSON values) as a version of `release`; the same manifest is the same version.

    Args:
        client: of `tracking`.
        run_id: the run that made it.
        manifest: the versions of its tables and models.
        published: the release's id in the serving database, to find the version by.
    """
    text = json.dumps(manifest, indent=1, sort_keys=True)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "manifest.json").write_text(text)
        fingerprint = hashlib.sha256(text.encode()).hexdigest()
        tags = {key: manifest[key] for key in ("asof", "code") if key in manifest}
        tags |= {f"stage.{name}": str(each)[:16] for name, each in manifest.get("stages", {}).items()}
        version = register(client, RELEASE, Path(folder), fingerprint, run_id, tags)
    _point_newest(client, RELEASE, version, str(manifest.get("asof", "")))
    if published:
        client.set_model_version_tag(RELEASE, version, "published", published)
    return version


def promote(client: MlflowClient, version: str) -> None:
    """Let this version of `release` be what serves; promoting an older one again is a rollback."""
    client.set_registered_model_alias(RELEASE, CHAMPION, version)


def champion(client: MlflowClient) -> tuple[str, dict[str, Any]] | None:
    """The version and the manifest of the release that serves; None before the first."""
    from mlflow.exceptions import MlflowException

    try:
        version = str(client.get_model_version_by_alias(RELEASE, CHAMPION).version)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise
    return version, json.loads((load(client, RELEASE, version) / "manifest.json").read_text())


def _ensure_model(client: MlflowClient, name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
