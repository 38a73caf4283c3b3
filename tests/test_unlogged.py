"""What was published and not logged is logged by the next run; a failed run is FAILED in MLflow."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from narrows.cli import recording
from narrows.cli.airflow import failed
from narrows.cli.airflow.workflow import ROOT
from narrows.settings import load_settings
from narrows.store.partitions import Store
from narrows.tracking import models, unlogged
from narrows.tracking.log import RunLog
from tests import world
from tests.test_run_log import ASOF, children, client, held, publish


@pytest.fixture
def settings(tmp_path):
    (tmp_path / "narrows.toml").write_text("")
    return load_settings(tmp_path / "narrows.toml", {})


def next_run(settings, run_id="next"):
    return SimpleNamespace(
        settings=settings, run_id=run_id, log=RunLog(settings, run_id, ASOF), pipeline=settings.pipeline
    )


def test_a_model_and_a_table_that_were_published_and_not_logged_are_logged_late(settings):
    cut_off, room = RunLog(settings, "cut off", ASOF), settings.rooms["rank"]
    model, table = publish(settings, "rank.model", "1" * 64), publish(settings, "rank", "2" * 64)
    cut_off.expect(room, ASOF, "1" * 64, None)
    cut_off.expect(room, ASOF, "2" * 64, held(table))
    cut_off.expect(settings.rooms["rerank"], ASOF, "3" * 64, held(table))  # it was killed before it was published
    recording.log_what_is_owed(next_run(settings))
    found = children(settings, cut_off)["rank"]
    assert found.data.tags["fingerprint"] == "2" * 64
    assert found.data.tags["contract"] == "held"
    assert set(children(settings, cut_off)) == {"rank"}
    assert models.find(client(settings), "rank", model.meta["fingerprint"]) == "1"
    assert unlogged.noted(settings.state) == []
    [run] = [each for each in runs(settings) if each.data.tags.get("run") == "cut off"]
    assert run.info.status == "RUNNING", "children() opens it again"


def test_a_run_that_was_cut_off_is_failed_and_one_that_is_retried_is_not(settings):
    for run_id in ("cut off", "retried"):
        log = RunLog(settings, run_id, ASOF)
        table = publish(settings, "rank", f"{len(run_id)}" * 64)
        log.expect(settings.rooms["rank"], ASOF, table.meta["fingerprint"], held(table))
        recording.log_what_is_owed(next_run(settings, "retried"))
    status = {each.data.tags.get("run"): each.info.status for each in runs(settings) if "run" in each.data.tags}
    assert status == {"cut off": "FAILED", "retried": "RUNNING"}


def test_what_is_logged_leaves_no_note(settings):
    log = RunLog(settings, "run", ASOF)
    table = publish(settings, "rank", "1" * 64)
    log.expect(settings.rooms["rank"], ASOF, "1" * 64, held(table))
    assert len(unlogged.noted(settings.state)) == 1
    log(settings.rooms["rank"], table, held(table), None)
    assert unlogged.noted(settings.state) == []


def test_a_run_that_failed_in_airflow_is_failed_in_mlflow(settings, monkeypatch):
    monkeypatch.setenv("NARROWS_FILE", str(settings.base / "narrows.toml"))
    assert failed.main(["nothing was ever logged"]) == 0
    assert not (settings.state / "mlflow.db").exists()
    RunLog(settings, "one", ASOF).open()
    RunLog(settings, "two", ASOF).finish({})
    assert failed.main(["one", "two", "three"]) == 0
    assert {each.data.tags["run"]: each.info.status for each in runs(settings)} == {"one": "FAILED", "two": "FINISHED"}


def runs(settings):
    tracked = client(settings)
    experiment = tracked.get_experiment_by_name(settings.mlflow.experiment)
    return tracked.search_runs([experiment.experiment_id])


KILLED = """
import os, signal, sys
from narrows.tracking.log import RunLog
setattr(RunLog, sys.argv[1], lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
from narrows.cli.main import main
main(sys.argv[2:])
"""


@pytest.mark.slow
def test_a_kill_between_publish_and_log_is_repaired_by_the_next_run(line, tmp_path):
    """Killed after the lists were published, and again before the run was closed; each next try finds the tables made."""
    folder = tmp_path / "world"
    shutil.copytree(line.file.parent, folder)
    for room in ("recommendations", "evaluation"):  # made again, by a run that logs
        shutil.rmtree(folder / "var" / "tables" / room)
    settings = load_settings(folder / "narrows.toml", {})
    env = {**os.environ, "PYTHONPATH": str(ROOT)}

    def transform(room: str, *before: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *before, "--file", str(folder / "narrows.toml"), "transform", room]
        command += ["--asof", str(world.ASOF), "--run-id", "one"]
        return subprocess.run(command, env=env, capture_output=True, text=True, check=False, cwd=tmp_path)

    def version() -> str:
        found = Store(Path(settings.tables)).current("recommendations", world.ASOF)
        return found.version if found else ""

    assert transform("recommendations", "-c", KILLED, "__call__").returncode == -9
    published = version()
    assert published
    assert models.champion(client(settings)) is None
    again = transform("recommendations", "-m", "narrows")
    assert again.returncode == 0, again.stderr
    assert "logged late" in again.stderr
    assert version() == published
    assert models.champion(client(settings))[1]["stages"]["recommendations"].startswith(published)

    assert transform("evaluation", "-c", KILLED, "finish").returncode == -9
    assert transform("evaluation", "-m", "narrows").returncode == 0
    [run] = [each for each in runs(settings) if each.data.tags.get("run") == "one"]
    assert run.info.status == "FINISHED"
    assert run.data.metrics["ndcg_at_20"] > 0
    assert unlogged.noted(settings.state) == []
