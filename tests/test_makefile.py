"""The verbs of the Makefile, with a stand-in for Python."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from narrows.cli.airflow.workflow import ROOT

PYTHON = """#!/bin/sh
case "$*" in
    "infra/install.py .venv "*) mkdir -p .venv/bin && cp "$0" .venv/bin/python && cp "$0" .venv/bin/narrows;;
esac
case "$*" in
    "infra/install.py .venv "*|*"pip freeze"*) echo "$PIP_SAYS"; echo "what pip complains of" >&2; exit $PIP_STATUS;;
esac
"""


def make(folder: Path, *verbs: str, says: str = "", status: int = 0) -> subprocess.CompletedProcess[str]:
    """Run verbs where pip says and returns this."""
    (folder / "infra").mkdir(exist_ok=True)
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "infra/install.py"):
        shutil.copy2(ROOT / name, folder / name)  # with its time: make compares times
    python = folder / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)
    env = {**os.environ, "PIP_SAYS": says, "PIP_STATUS": str(status)}
    env.pop("MAKEFLAGS", None)  # of a make that runs the tests
    return subprocess.run(
        ["make", *verbs, f"PYTHON={python}"], cwd=folder, env=env, capture_output=True, text=True, check=False
    )


def test_setup_fails_where_the_installer_does(tmp_path):
    assert make(tmp_path, "setup").returncode == 0
    (tmp_path / ".venv" / "ready").unlink()
    made = make(tmp_path, "setup", says="Collecting torch", status=1)
    assert made.returncode != 0
    assert not (tmp_path / ".venv" / "ready").exists()
    assert "Collecting torch" in made.stdout
    assert "what pip complains of" in made.stderr


def test_setup_is_done_once(tmp_path):
    made = make(tmp_path, "setup", says="Installed in 40 s")
    assert made.returncode == 0
    assert "Installed" in made.stdout
    assert (tmp_path / ".venv" / "ready").exists()
    assert "Installed" not in make(tmp_path, "setup", says="Installed in 40 s").stdout


def test_constraints_stay_where_pip_fails(tmp_path):
    assert make(tmp_path, "setup").returncode == 0
    assert make(tmp_path, "constraints", status=1).returncode != 0
    assert (tmp_path / "constraints.txt").read_text() == (ROOT / "constraints.txt").read_text()
