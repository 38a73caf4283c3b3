"""Where the pages of a task lead."""

import json
import sqlite3
from contextlib import closing

import pytest

from narrows.cli.pages.links import Pages

MLFLOW, DOCUMENTS = "http://127.0.0.1:8081/", "http://127.0.0.1:8082/"
VERSION = "2014482320b71ee6"


@pytest.fixture
def pages(tmp_path):
    """The pages of a state folder in which a room's version was made by two runs, one deleted."""
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database, database:
        database.execute("CREATE TABLE runs (run_uuid, experiment_id, start_time, lifecycle_stage)")
        database.execute("CREATE TABLE tags (run_uuid, key, value)")
        runs = [("old", 1, 1, "active"), ("new", 3, 2, "active"), ("gone", 3, 9, "deleted"), ("other", 3, 8, "active")]
        database.executemany("INSERT INTO runs VALUES (?, ?, ?, ?)", runs)
        for run in ("old", "new", "gone"):
            database.execute("INSERT INTO tags VALUES (?, 'fingerprint', ?)", (run, VERSION + "0" * 48))
        database.execute("INSERT INTO tags VALUES ('other', 'input.recall', ?)", (VERSION,))
    page = tmp_path / "data_docs" / "validations" / "recall" / VERSION / "20171130T000000.000000Z" / "recall.html"
    page.parent.mkdir(parents=True)
    page.touch()
    for folder in ("runs", "reports"):
        (tmp_path / folder).mkdir()
    for number in (2, 9, 10, 11):
        tables = {"recall": {"version": VERSION if number < 11 else "another"}}
        (tmp_path / "runs" / f"{number}.json").write_text(json.dumps({"tables": tables}))
        (tmp_path / "reports" / f"{number}.html").touch()
    return Pages(str(tmp_path), f"sqlite:///{tmp_path}/mlflow.db", MLFLOW, DOCUMENTS)


def test_a_table_leads_to_what_was_logged_when_it_was_made(pages):
    assert pages.mlflow_run("recall", VERSION) == f"{MLFLOW}#/experiments/3/runs/new?workflowType=machine_learning"
    where = f"validations/recall/{VERSION}/20171130T000000.000000Z/recall.html"
    assert pages.data_docs("recall", VERSION) == f"{DOCUMENTS}data_docs/{where}"
    assert pages.report("recall", VERSION) == f"{DOCUMENTS}reports/10.html"


@pytest.mark.parametrize("version", ["", "unknown", "pending"])
def test_what_is_not_known_leads_to_the_first_page(pages, version):
    assert pages.mlflow_run("recall", version) == MLFLOW
    assert pages.data_docs("recall", version) == f"{DOCUMENTS}data_docs/index.html"
    assert pages.report("recall", version) == f"{DOCUMENTS}reports/"


def test_a_tracking_server_and_another_mlflow_lead_to_the_first_page(pages, tmp_path):
    server = Pages(pages.state, "http://tracking.example", "http://tracking.example/", DOCUMENTS)
    assert server.mlflow_run("recall", VERSION) == "http://tracking.example/"
    sqlite3.connect(tmp_path / "empty.db").close()
    assert Pages(pages.state, f"sqlite:///{tmp_path}/empty.db", MLFLOW, "").mlflow_run("recall", VERSION) == MLFLOW


def test_the_pages_are_handed_on_in_the_environment(pages):
    assert Pages.of(pages.as_env()) == pages
    assert Pages.of({}) is None
