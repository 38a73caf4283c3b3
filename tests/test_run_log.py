"""What a run tells MLflow: children, metrics, versions, and the champion, on a real SQLite store."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from narrows.asof import Asof
from narrows.audit.contract import Audit
from narrows.settings import Settings, load_settings
from narrows.stage import Table
from narrows.store.partitions import Store
from narrows.store.write import write_table
from narrows.tracking import models
from narrows.tracking.log import RunLog

ASOF = Asof.parse("2017-11-30")


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> Settings:
    file = tmp_path_factory.mktemp("a folder") / "narrows.toml"  # the space is meant
    file.write_text("")
    return load_settings(file, {})


@pytest.fixture
def run_log(settings, request) -> RunLog:
    return RunLog(settings, request.node.name, ASOF)


def client(settings: Settings) -> Any:
    return models.tracking(settings.tracking_uri)


def publish(settings: Settings, room: str, fingerprint: str, asof: Asof = ASOF, **notes: Any) -> Table:
    """A partition in the store, or a room's model."""
    store = Store(settings.state / "tables")
    draft = store.draft(room, asof, fingerprint)
    write_table(pa.table({"user_id": ["a", "b"]}), draft / "data")
    (draft / "model").mkdir()
    (draft / "model" / "model.txt").write_text(fingerprint)
    cost = {"seconds": 1.5, "cpu_seconds": 2.0, "peak_mb": 100.0}
    meta = {"fingerprint": fingerprint, "inputs": {"recall": "abc"}, "rows": 2, "cost": cost, "notes": notes}
    return store.publish(room, asof, draft, meta)


def held(table: Table, success: bool = True) -> Audit:
    return Audit(table.name, table.version, success, 7, [] if success else ["x"], "page.html")


def children(settings: Settings, run_log: RunLog) -> dict[str, Any]:
    """The child runs of a run, by name."""
    parent = run_log._parent
    experiment = client(settings).get_run(parent).info.experiment_id
    runs = client(settings).search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent}'")
    return {run.info.run_name: run for run in runs}


def test_a_run_has_a_child_for_each_room_with_its_metrics(settings, run_log):
    prerank, rank = settings.rooms["prerank"], settings.rooms["rank"]
    for room in (prerank, rank):
        table = publish(settings, room.name, "a" * 64, received=5, kept=2, survival={"rank": 0.9})
        run_log(room, table, held(table), None)
    earlier = publish(settings, "rank", "b" * 64, ASOF - timedelta(days=7))
    run_log(rank, earlier, held(earlier), None)
    run_log.finish({"recall_20": 0.3})
    runs = children(settings, run_log)
    assert set(runs) == {"prerank", "rank"}  # an earlier partition is not this run's
    assert runs["rank"].data.metrics == {
        "rows": 2.0, "received": 5.0, "kept": 2.0, "survival.rank": 0.9, "cost.seconds": 1.5, "cost.cpu_seconds": 2.0,
        "cost.peak_mb": 100.0, "contract.checked": 7.0, "contract.failed": 0.0, "contract.warned": 0.0,
    }  # fmt: skip
    tags = runs["rank"].data.tags
    assert {name: tags[name] for name in ("room", "asof", "partition", "source", "input.recall", "contract")} == {
        "room": "rank", "asof": "2017-11-30", "partition": "2017-11-30", "source": settings.source.name,
        "input.recall": "abc", "contract": "held",
    }  # fmt: skip
    assert runs["rank"].data.params["n"] == str(rank.n)
    parent = client(settings).get_run(run_log._parent)
    assert (parent.info.status, parent.data.metrics) == ("FINISHED", {"recall_20": 0.3})
    assert parent.data.tags["run"] == run_log.run_id


def test_a_model_is_a_registered_version_and_an_earlier_one_too(settings, run_log):
    room = settings.rooms["recall"]
    for fingerprint, asof in (("1" * 64, ASOF), ("2" * 64, ASOF - timedelta(days=7)), ("1" * 64, ASOF)):
        table = publish(settings, "recall.model", fingerprint, asof)
        run_log(room, table, None, table.model_folder)
    versions = client(settings).search_model_versions("name = 'recall'")
    assert sorted((version.version, version.tags["fingerprint"]) for version in versions) == [
        (1, "1" * 64), (2, "2" * 64),
    ]  # fmt: skip
    assert (models.load(client(settings), "recall", "2") / "model.txt").read_text() == "2" * 64
    runs = children(settings, run_log)
    assert set(runs) == {"recall", "recall 2017-11-23"}
    assert runs["recall"].data.metrics["fit_cost.seconds"] == 1.5


def test_the_champion_moves_with_the_live_release_alone(settings, run_log):
    room = settings.rooms["recommendations"]

    def made(fingerprint: str, live: bool, success: bool = True) -> tuple[str, str] | None:
        """Publish a release; the champion after it: its version and its recommendations."""
        publish(settings, "rerank", fingerprint[::-1])
        publish(settings, "evaluation", fingerprint)
        table = publish(settings, "recommendations", fingerprint, live=live, release_id=f"r{fingerprint[0]}")
        run_log(room, table, held(table, success), None)
        champion = models.champion(client(settings))
        return champion and (champion[0], champion[1]["stages"]["recommendations"])

    assert made("1" + "0" * 63, live=False) is None
    assert made("2" + "0" * 63, live=True) == ("2", "2" + "0" * 63)
    assert made("3" + "0" * 63, live=False) == ("2", "2" + "0" * 63)
    assert made("4" + "0" * 63, live=True, success=False) == ("2", "2" + "0" * 63)  # its contract is broken
    publish(settings, "recommendations", "1" + "0" * 63)
    publish(settings, "rerank", "0" * 63 + "1")
    run_log.release(
        "recommendations", {"live": True, "release_id": "r1"}
    )  # an earlier release again, as after a change that was taken back
    version, manifest = models.champion(client(settings)) or ("", {})
    assert version == "1"
    assert manifest["asof"] == "2017-11-30"
    assert manifest["stages"]["rerank"] == "0" * 63 + "1"
    assert "evaluation" not in manifest["stages"]  # it judges the release, and comes later
    assert len(client(settings).search_model_versions("name = 'release'")) == 3


def test_the_state_folder_can_be_moved(tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "narrows.toml").write_text("")
    before = load_settings(tmp_path / "here" / "narrows.toml", {})
    log = RunLog(before, "run", ASOF)
    model = publish(before, "rank.model", "1" * 64)
    log(before.rooms["rank"], model, None, model.model_folder)
    table = publish(before, "recommendations", "2" * 64, live=True)
    log(before.rooms["recommendations"], table, held(table), None)
    there = tmp_path / "there it is"
    shutil.move(tmp_path / "here", there)
    after = load_settings(there / "narrows.toml", {})
    found = models.load(client(after), "rank", "1")
    assert found.is_relative_to(there)
    assert (found / "model.txt").read_text() == "1" * 64
    assert models.champion(client(after))[1]["stages"]["recommendations"] == "2" * 64
    for room in ("rank", "recommendations"):
        later = publish(after, room, "3" * 64)
        RunLog(after, "later", ASOF)(after.rooms[room], later, held(later), None)
    assert not (tmp_path / "here").exists()  # nothing was written to the old place
    log = RunLog(after, "run", ASOF)
    run = children(after, log)["recommendations"]
    assert run.info.artifact_uri.startswith(there.as_uri())
    assert Path(client(after).download_artifacts(run.info.run_id, "audit.json")).is_file()


def test_a_copied_state_folder_is_on_its_own(tmp_path):
    from narrows.tracking.moved import follow_move

    (tmp_path / "narrows.toml").write_text("")
    settings = load_settings(tmp_path / "narrows.toml", {})
    model = publish(settings, "rank.model", "1" * 64)
    RunLog(settings, "run", ASOF)(settings.rooms["rank"], model, None, model.model_folder)
    copy = tmp_path / "copy"
    shutil.copytree(tmp_path / "var", copy)
    assert follow_move(settings.state / "mlflow.db") == 0
    assert follow_move(copy / "mlflow.db") == 5  # an experiment, two runs, a version's source and storage
    assert follow_move(copy / "mlflow.db") == 0
    assert models.load(models.tracking(f"sqlite:///{copy}/mlflow.db"), "rank", "1").is_relative_to(copy)
    assert models.load(client(settings), "rank", "1").is_relative_to(settings.state)
    (tmp_path / "link").symlink_to(settings.state)
    assert follow_move(tmp_path / "link" / "mlflow.db") == 0  # the same folder by another name


def test_a_database_elsewhere_is_left_alone(tmp_path):
    from narrows.tracking.moved import follow_move

    models.prepare(f"sqlite:///{tmp_path}/db/mlflow.db", tmp_path / "files" / "mlartifacts")
    assert follow_move(tmp_path / "db" / "mlflow.db") == 0
    (tmp_path / "db" / "mlartifacts").mkdir()
    (tmp_path / "empty.db").touch()
    assert follow_move(tmp_path / "empty.db") == 0


def test_a_page_is_kept_with_the_run_and_replaced(settings, run_log, tmp_path):
    for text in ("first", "second ✓"):
        (tmp_path / "1.html").write_text(text, encoding="utf-8")
        run_log.attach(tmp_path / "1.html", "report.html")
    found = client(settings).list_artifacts(run_log._parent)
    assert [file.path for file in found] == ["report.html"]
    kept = Path(client(settings).download_artifacts(run_log._parent, "report.html", str(tmp_path)))
    assert kept.read_text(encoding="utf-8") == "second ✓"
