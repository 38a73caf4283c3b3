"""The DAG of an experiment: a task a design, each the command that a person types."""

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from narrows.cli.airflow.tasks import run_codesign
from narrows.cli.airflow.workflow import DAGS, environment, migrate

NARROWS = """
import json, sys
from pathlib import Path
with Path("calls").open("a") as file: file.write(json.dumps(sys.argv[1:]) + "\\n")
if "bad" in sys.argv: sys.exit("no such experiment") if "other" in sys.argv else sys.exit(2)
if "--list" in sys.argv: print(json.dumps([{"design": 1}, {"design": 2}]))
else: print("a design")
"""


@pytest.fixture
def narrows(tmp_path, monkeypatch):
    """A stand-in for the command line, which notes how it is called."""
    (tmp_path / "narrows").mkdir()
    (tmp_path / "narrows" / "__main__.py").write_text(NARROWS)
    (tmp_path / "narrows" / "__init__.py").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setenv("NARROWS_DEFAULTS", "1")
    return lambda: [json.loads(line) for line in Path("calls").read_text().splitlines()]


def test_the_file_is_short_and_light():
    text = (DAGS / "codesign.py").read_text()
    assert len(text.splitlines()) < 80
    code = f"import sys; sys.path.insert(0, {str(DAGS)!r}); import codesign; print(*sys.modules)"
    env = environment(Path("unused")) | {"AIRFLOW_HOME": os.environ["AIRFLOW_HOME"]}
    loaded = set(
        subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True).stdout.split()
    )
    assert not {"torch", "optuna", "lightgbm", "mlflow", "polars", "narrows.codesign.run"} & loaded


def test_designs_are_mapped_and_the_report_waits_for_all(bag):
    dag = bag.dags["codesign"]
    assert [task.task_id for task in dag.tasks] == ["designs", "design", "report"]
    assert dag.get_task("design").is_mapped
    assert dag.get_task("design").upstream_task_ids == {"designs"}
    assert dag.get_task("report").upstream_task_ids == {"design"}


def test_a_task_is_the_command_that_one_types(narrows, capfd):
    assert json.loads(run_codesign("mine.toml", "--list", "--json")) == [{"design": 1}, {"design": 2}]
    assert run_codesign("mine.toml", "--design", "2") == "a design\n"
    assert narrows() == [
        ["codesign", "run", "mine.toml", "--list", "--json"],
        ["codesign", "run", "mine.toml", "--design", "2"],
    ]


def test_a_bad_file_is_not_retried(narrows):
    from airflow.sdk.exceptions import AirflowFailException

    with pytest.raises(AirflowFailException, match="the experiment bad failed with exit status 2"):
        run_codesign("bad")
    with pytest.raises(AirflowFailException, match="exit status 1"):
        run_codesign("bad", "other")


@pytest.mark.slow
def test_a_run_maps_over_the_designs(narrows, tmp_path):
    env = environment(tmp_path / "var")
    migrate(env)
    code = "from airflow.dag_processing.dagbag import DagBag; DagBag(%r).dags['codesign'].test(run_conf={'file': 'mine.toml'})"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code % str(DAGS)],  # not the stand-in, which a task finds in its folder
        env=env,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    with sqlite3.connect(Path(env["AIRFLOW_HOME"]) / "airflow.db") as database:
        states = database.execute("SELECT task_id, map_index, state FROM task_instance ORDER BY 1, 2").fetchall()
    assert states == [
        ("design", 0, "success"),
        ("design", 1, "success"),
        ("designs", -1, "success"),
        ("report", -1, "success"),
    ]
    assert [call[3:] for call in narrows()] == [["--list", "--json"], ["--design", "1"], ["--design", "2"], []]
