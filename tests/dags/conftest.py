"""Airflow for the tests: the settings of `make run`, and everything it keeps in a temporary folder."""

import os
import tempfile
from pathlib import Path

import pytest

from narrows.cli.airflow.workflow import DAGS, environment

HOME = tempfile.TemporaryDirectory()
# Airflow reads its settings when it is first imported, so they are set before any test of this folder is.
SETTINGS = environment(Path(HOME.name)).items()
os.environ |= {key: value for key, value in SETTINGS if key.startswith("AIRFLOW_")}


@pytest.fixture(scope="session")
def bag():
    """Every DAG of the folder, parsed as Airflow parses it."""
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(DAGS)
