"""What a new user does: own files to the comparison of two designs, in a new folder, by the command line alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

from tests.paths import ROOT


@pytest.mark.slow
def test_from_own_files_to_the_comparison_of_two_designs(tmp_path):
    env = {key: value for key, value in os.environ.items() if not key.startswith(("NARROWS_", "AIRFLOW_"))}
    env["PYTHONPATH"] = str(ROOT)

    def narrows(*words: str, where=tmp_path / "mine", **settings: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "narrows", *words], cwd=where, env=env | settings, capture_output=True, text=True
        )
        assert done.returncode == 0, f"narrows {' '.join(words)}: {done.stdout[-1000:]}{done.stderr[-3000:]}"
        return done.stdout

    narrows("demo", "shop", where=tmp_path)
    mine = tmp_path / "mine"
    mine.mkdir()
    for file in (tmp_path / "shop").glob("*.csv"):
        shutil.copy(file, mine)
    narrows("init", "orders.csv", "--items", "products.csv", "--users", "customers.csv")
    settings = mine / "narrows.toml"
    settings.write_text(f"{settings.read_text()}\n[pipeline]\nwindows = 4\n")
    assert json.loads(narrows("doctor", "--json"))["ready"]
    first = json.loads(narrows("run", "--json"))
    assert first["users"] > 0, "the default as-of can be judged"
    narrows("run", NARROWS_RANK__N="30")
    compared = json.loads(narrows("compare", "1", "2", "--json"))
    assert [row["name"] for row in compared["settings"]] == ["rank.n"]
    narrows("compare", "1", "2", "--html", "compare.html")
    assert "rank.n" in (mine / "compare.html").read_text()
    user = next(line.split()[-1] for line in [next(row for row in first["next"] if " show " in row).partition("  ")[0]])
    assert len(json.loads(narrows("show", user, "--json"))["rows"]) == 20
    assert {file.name for file in (mine / "var" / "reports").iterdir()} == {"1.html", "2.html", "index.html"}
