"""The log of a run: what the runner publishes, told to MLflow as one child run a room below the run's parent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from narrows.asof import Asof
from narrows.settings import Settings
from narrows.stage import Table, settings_of
from narrows.store.partitions import open_store
from narrows.tracking import unlogged
from narrows.version import commit

VERSION_TAGS = ("design", "judged", "number", "worse_than_previous")
"""Tags of a run that the versions have too that it registered."""


@dataclass
class RunLog:
    """Logs what a run of ``asof`` publishes; MLflow is imported when there is something to log."""

    settings: Settings
    run_id: str
    asof: Asof

    def expect(self, room: Any, asof: Asof, fingerprint: str, audit: Any) -> None:
        """Note a publication before it happens, so that it is logged later if this process does not come to it.

        Args:
            room: with its settings.
            asof: of the partition.
            fingerprint: of what will be published.
            audit: of its contract; None for a model.
        """
        if asof == self.asof or audit is None:
            kind = unlogged.TABLE if audit else unlogged.MODEL
            about = {"version": fingerprint, "audit": audit.to_json() if audit else "", **self._run}
            unlogged.note(self.settings.state, kind, room.name, asof, **about)

    def note(self, kind: str, room: str) -> bool:
        """Note a release or the end of the run; whether an earlier process noted it and did not log it."""
        return unlogged.note(self.settings.state, kind, room, self.asof, **self._run)

    def logged(self, kind: str, room: str) -> None:
        """Cross out such a note."""
        unlogged.logged(self.settings.state, kind, room, self.asof)

    @property
    def _run(self) -> dict[str, str]:
        return {"run_id": self.run_id, "run_asof": str(self.asof)}

    def __call__(self, room: Any, table: Table, audit: Any, model: Path | None) -> None:
        """Log one publication: of the run's own partition, or of a model.

        What a room with a ``publish`` method published is a version of the release; see `release`.

        Args:
            room: with its settings.
            table: what was published.
            audit: of its contract; None for a model.
            model: the folder of the model's files; None for a table.
        """
        if table.asof != self.asof and not model:
            return
        from narrows.tracking import models

        notes = table.meta["notes"]
        past = bool(model) and table.meta.get("past", False)
        models.log_room(
            self._client, self._parent, room.name,
            fingerprint=table.meta["fingerprint"], asof=table.asof, settings=settings_of(room),
            inputs=_flat(table.meta["inputs"]), metrics={"rows": table.rows, **notes}, cost=table.meta["cost"],
            audit=audit,
            tags={"code": commit() or "unknown", "partition": str(table.asof), "source": self.settings.source.name},
            model_folder=model, registered=not past,
        )  # fmt: skip
        if hasattr(room, "publish") and not model and (audit is None or audit.success):
            self.release(room.name, notes)
        unlogged.logged(self.settings.state, unlogged.MODEL if model else unlogged.TABLE, room.name, table.asof)

    def release(self, room: str, notes: dict[str, Any]) -> None:
        """Register the release that a room published, and make it the champion if it is live.

        Args:
            room: the room that published it.
            notes: what its ``publish`` returned: ``release_id`` and ``live``.
        """
        from narrows.tracking import models

        published = notes.get("release_id", "")
        manifest = self.manifest(room)
        version = models.register_release(self._client, self._parent, manifest, published)
        if notes.get("live", True):
            models.promote(self._client, version)

    def open(self) -> None:
        """Open the run now rather than with the first entry: MLflow takes seconds to import."""
        _ = self._parent

    def manifest(self, room: str) -> dict[str, Any]:
        """The versions of the tables and models of the as-of up to the room that publishes: what the release is made of."""
        store, names = open_store(self.settings), list(self.settings.rooms)
        rooms = names[: names.index(room) + 1]
        current = {name: store.current(name, self.asof) for each in rooms for name in (each, f"{each}.model")}
        versions = {name: table.meta["fingerprint"] for name, table in current.items() if table}
        return {"asof": str(self.asof), "code": commit() or "unknown", "stages": versions}

    def finish(
        self,
        metrics: Mapping[str, Any],
        status: str = "FINISHED",
        *,
        name: str = "",
        params: Mapping[str, Any] = {},
        tags: Mapping[str, Any] = {},
        cached: Mapping[str, Mapping[str, Any]] = {},
        release: str = "",
        quality: Mapping[str, Any] = {},
        summary: str = "",
        experiment: Mapping[str, str] = {},
    ) -> None:
        """Close the parent run with all that a person compares runs by.

        Args:
            metrics: numbers, nested as they come.
            status: FINISHED or FAILED.
            name: of the run.
            params: its design; a parameter that the run has keeps its value, as MLflow lets none change.
            tags: what it is found by.
            cached: rooms that were found in the store, each with ``version``, ``made_by`` and ``cost``: a child each.
            release: the id of the release that it made.
            quality: of the release; also logged where an earlier run made it and it was not judged then.
            summary: one line, the description of the versions that it registered.
            experiment: tags of the experiment: how its page looks.
        """
        from narrows.tracking import models, whole_runs

        client, parent = self._client, self._parent
        whole_runs.describe(client, parent, name, params, tags, experiment)
        for room, table in cached.items():
            whole_runs.cached_child(client, parent, room, self.asof, table)
        models.finish(client, parent, metrics, status)
        labels = {key: value for key, value in tags.items() if key in VERSION_TAGS}
        labels |= {key: f"{value:.4f}" for key, value in quality.items() if not key.endswith((".low", ".high"))}
        whole_runs.tag_versions(client, parent, release, labels, summary)
        if release and quality:
            whole_runs.judge_earlier(client, parent, release, quality)

    @property
    def place(self) -> dict[str, str]:
        """Where the run is: the ids of its ``experiment`` and ``run``, and the ``server``, empty where it is a database here."""
        uri = self.settings.tracking_uri
        public = uri.startswith("http") and "@" not in uri  # no password on a page
        experiment = self._client.get_run(self._parent).info.experiment_id
        return {"experiment": experiment, "run": self._parent, "server": uri if public else ""}

    def curve(self, series: Mapping[str, list[tuple[Asof, float]]]) -> None:
        """Log numbers of earlier as-ofs as metrics with one step for each, which MLflow draws as a line.

        Args:
            series: by name; the step is the number of the as-of's period since 1970.
        """
        from narrows.tracking import whole_runs

        whole_runs.log_series(self._client, self._parent, series)

    def attach(self, file: Path, name: str) -> None:
        """Keep a file with the parent run, under this name."""
        self._client.log_text(self._parent, file.read_text(encoding="utf-8"), name)

    @cached_property
    def _client(self) -> Any:
        from narrows.tracking import models

        return models.tracking(self.settings.tracking_uri)

    @cached_property
    def _parent(self) -> str:
        from narrows.tracking import models

        local = not self.settings.mlflow.tracking_uri
        artifacts = self.settings.state / "mlartifacts" if local else None
        experiment = models.prepare(self.settings.tracking_uri, artifacts, self.settings.mlflow.experiment)
        return models.parent_run(self._client, experiment, self.run_id, self.asof, {"code": commit() or "unknown"})


def _flat(inputs: dict[str, Any]) -> dict[str, str]:
    return {name: value if isinstance(value, str) else " ".join(value.values()) for name, value in inputs.items()}
