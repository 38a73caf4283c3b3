"""MLflow on a real SQLite store: one child per room, one version per fingerprint, one champion."""

import json
import multiprocessing
import threading
from pathlib import Path

import pytest

from narrows.asof import Asof
from narrows.audit.contract import Audit
from narrows.tracking import models
from narrows.tracking.models import TrackingError

ASOF = Asof.parse("2017-11-30")
FIT, TABLE = "f" * 64, "a" * 64


@pytest.fixture(scope="module")
def state(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("a state")  # the space is meant: a folder may have one


@pytest.fixture(scope="module")
def uri(state) -> str:
    return f"sqlite:///{state / 'mlflow.db'}"


@pytest.fixture(scope="module")
def experiment(uri, state) -> str:
    return models.prepare(uri, state / "mlartifacts")


@pytest.fixture
def client(uri, experiment):
    return models.tracking(uri)


@pytest.fixture
def parent(client, experiment, request) -> str:
    return models.parent_run(client, experiment, request.node.name, ASOF, {"code_version": "0.1.0"})


@pytest.fixture
def folder(tmp_path) -> Path:
    """A model of two plain files."""
    (tmp_path / "model" / "index").mkdir(parents=True)
    (tmp_path / "model" / "model.txt").write_text("tree")
    (tmp_path / "model" / "index" / "items.npz").write_bytes(b"\0" * 1000)
    return tmp_path / "model"


def log(client, parent, room="rank", fingerprint=TABLE, **given):
    usual = {
        "asof": ASOF,
        "settings": {"epochs": 3, "cutoffs": (5, 10)},
        "inputs": {"prerank": "abc"},
        "metrics": {"recall@20": 0.3, "survival": {"rank": 0.9}, "note": "no number", "none": None},
        "cost": {"seconds": 1.5, "peak_mb": 100.0},
    }
    return models.log_room(client, parent, room, fingerprint=fingerprint, **(usual | given))


def test_where_to_log_must_be_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for uri in ("", "sqlite:///mlflow.db"):
        with pytest.raises(TrackingError, match="tracking_uri"):
            models.tracking(uri)
    assert not list(tmp_path.iterdir())


def test_preparing_again_changes_nothing(uri, state, experiment):
    assert models.prepare(uri, state / "mlartifacts") == experiment


def test_a_deleted_experiment_is_one_clear_line(client, state):
    number = models.ensure_experiment(client, "deleted", state / "mlartifacts")
    client.delete_experiment(number)
    with pytest.raises(TrackingError, match=f"restore -x {number}"):
        models.ensure_experiment(client, "deleted")


def test_an_experiment_is_created_once_by_many(client, state):
    found = []
    many = [threading.Thread(target=lambda: found.append(models.ensure_experiment(client, "many"))) for _ in range(4)]
    for one in many:
        one.start()
    for one in many:
        one.join()
    assert len(found) == 4
    assert len(set(found)) == 1


def test_a_room_is_a_child_of_its_pipeline_run(client, experiment, parent):
    audit = Audit("rank", "v1", True, 10, [], "page.html")
    logged = log(client, parent, audit=audit, tags={"code_version": "0.1.0"})
    run = client.get_run(logged.run_id)
    assert run.info.run_name == "rank"
    assert run.data.tags["mlflow.parentRunId"] == parent
    assert run.data.tags["fingerprint"] == TABLE
    assert run.data.tags["asof"] == "2017-11-30"
    assert run.data.tags["input.prerank"] == "abc"
    assert run.data.tags["contract"] == "held"
    assert run.data.params == {"epochs": "3", "cutoffs": "(5, 10)"}
    assert run.data.metrics == {
        "recall_at_20": 0.3, "survival.rank": 0.9, "cost.seconds": 1.5, "cost.peak_mb": 100.0,
        "contract.checked": 10.0, "contract.failed": 0.0, "contract.warned": 0.0,
    }  # fmt: skip
    assert run.info.end_time - run.info.start_time == 1500
    assert json.loads(Path(client.download_artifacts(logged.run_id, "audit.json")).read_text())["checked"] == 10


def test_a_broken_contract_shows_as_a_failed_run(client, parent):
    logged = log(client, parent, audit=Audit("rank", "v1", False, 10, ["x"], "page.html"))
    run = client.get_run(logged.run_id)
    assert run.info.status == "FAILED"
    assert run.data.tags["contract"] == "broken"


def test_logging_again_changes_nothing(client, experiment, parent, folder):
    def everything():
        fitted = log(client, parent, "prerank", FIT, model_folder=folder)
        made = log(client, parent, "prerank", TABLE)
        assert fitted.run_id == made.run_id
        run = client.get_run(made.run_id)
        versions = client.search_model_versions("name = 'prerank'")
        runs = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent}'")
        history = client.get_metric_history(made.run_id, "recall_at_20")
        return fitted.version, run.data.params, run.data.metrics, len(versions), len(runs), len(history)

    first = everything()
    assert first[0] == "1"
    assert first[2]["fit_cost.seconds"] == 1.5
    assert first[3:] == (1, 1, 1)
    assert everything() == first


def test_one_version_per_fingerprint(client, parent, folder, request, experiment):
    first = log(client, parent, "recall", "1" * 64, model_folder=folder)
    (folder / "model.txt").write_text("another tree")
    second = log(client, parent, "recall", "2" * 64, model_folder=folder)
    tomorrow = models.parent_run(client, experiment, "tomorrow", Asof.parse("2017-12-01"))
    again = log(client, tomorrow, "recall", "1" * 64, model_folder=folder, asof=Asof.parse("2017-12-01"))
    assert (first.version, second.version, again.version) == ("1", "2", "1")
    assert again.run_id != first.run_id
    assert models.find(client, "recall", "2" * 64) == "2"
    assert models.find(client, "recall", "3" * 64) is None
    assert (models.load(client, "recall", "1") / "model.txt").read_text() == "tree"
    assert (models.load(client, "recall", "2") / "model.txt").read_text() == "another tree"


def test_load_by_alias_gives_the_files(client, parent, folder, tmp_path):
    version = log(client, parent, "rerank", "9" * 64, model_folder=folder).version
    client.set_registered_model_alias("rerank", "champion", version)
    assert (models.load(client, "rerank") / "index" / "items.npz").stat().st_size == 1000
    copy = models.load(client, "rerank", folder=tmp_path / "copy")
    assert copy.is_relative_to(tmp_path / "copy")
    assert (copy / "model.txt").read_text() == "tree"
    for name, version in (("rerank", "challenger"), ("rerank", "7"), ("nobody", "champion")):
        with pytest.raises(TrackingError, match=f"no version '{version}' of the model '{name}'"):
            models.load(client, name, version)


def test_the_champion_is_one_pointer(client, parent):
    assert models.champion(client) is None
    old, new = {"rank": ["1", "aa"]}, {"rank": ["2", "bb"]}
    first = models.register_release(client, parent, old)
    assert models.champion(client) is None
    models.promote(client, first)
    second = models.register_release(client, parent, new)
    assert models.champion(client) == ("1", old)
    models.promote(client, second)
    assert models.champion(client) == ("2", new)
    assert models.register_release(client, parent, old) == first
    models.promote(client, first)
    assert models.champion(client) == ("1", old)


def test_an_earlier_partition_is_a_child_of_its_own(client, parent):
    now, earlier = log(client, parent), log(client, parent, asof=Asof.parse("2017-11-23"))
    assert now.run_id != earlier.run_id
    assert client.get_run(earlier.run_id).info.run_name == "rank 2017-11-23"


def test_the_pipeline_run_ends_with_its_headlines(client, experiment, parent):
    models.finish(client, parent, {"ndcg@20": 0.31})
    assert client.get_run(parent).info.status == "FINISHED"
    assert client.get_run(parent).data.metrics == {"ndcg_at_20": 0.31}
    again = models.parent_run(client, experiment, client.get_run(parent).data.tags["run"], ASOF)
    assert again == parent
    assert client.get_run(parent).info.status == "RUNNING"


def test_many_settings_fit(client, parent):
    settings = {f"setting_{number}": number for number in range(230)}
    logged = log(client, parent, "examples", settings=settings, metrics=settings)
    assert len(client.get_run(logged.run_id).data.params) == 230


def test_a_name_that_cannot_be_searched_for_is_refused(client, experiment):
    with pytest.raises(TrackingError, match="apostrophe"):
        models.parent_run(client, experiment, "o'clock", ASOF)


def test_a_database_that_was_left_half_made_is_made_anew(tmp_path):
    from sqlite3 import connect

    (tmp_path / ".mlflow.db.draft").write_text("killed while it was made")
    models.tracking(f"sqlite:///{tmp_path / 'mlflow.db'}")
    with connect(tmp_path / "mlflow.db") as base:
        assert base.execute("select count(*) from experiments").fetchone() == (1,)
    assert not (tmp_path / ".mlflow.db.draft").exists()


def _log_apart(uri: str, parent: str) -> None:
    log(models.tracking(uri), parent, "user_profiles")


def test_rooms_in_processes_of_their_own_find_their_parent(client, experiment, uri, parent):
    start = multiprocessing.get_context("spawn")
    task = start.Process(target=_log_apart, args=(uri, parent))
    task.start()
    task.join()
    assert task.exitcode == 0
    (run,) = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent}'")
    assert run.data.tags["room"] == "user_profiles"
