"""The notebook of the tutorial and the Python API, over the small world."""

from __future__ import annotations

import json
import shutil

import pytest

from narrows import api
from narrows.cli.report import record
from narrows.settings import SettingsError
from narrows.store.partitions import StoreError
from tests.paths import ROOT


@pytest.fixture(scope="module")
def file(line, tmp_path_factory):
    """The settings of a finished and recorded run in a folder of its own."""
    root = tmp_path_factory.mktemp("tutorial") / "world"
    shutil.copytree(line.file.parent, root)
    record.write(api.open(root / "narrows.toml").settings, line.runner.run_id, line.asof, "abc")
    return root / "narrows.toml"


def test_the_notebook_runs(file, line, monkeypatch, capsys):
    monkeypatch.setenv("NARROWS_FILE", str(file))
    monkeypatch.chdir(file.parent)
    monkeypatch.setattr("narrows.cli.check.reach.default_asof", lambda settings: line.asof)  # that of the finished run
    names: dict = {}
    for cell in json.loads((ROOT / "docs" / "tutorial.ipynb").read_text())["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
    assert names["run"].asof == line.asof
    assert tuple(names["stages"]["room"]) == tuple(line.runner.pipeline.names)
    assert names["rank"].height == line.table("rank").rows
    assert names["other"].record["design"]["rank.n"] == 30
    assert {row["list"] for row in names["published"]} == {"published"}
    assert "rank.n" in capsys.readouterr().out


def test_a_run_has_the_tables_of_its_versions(file, line):
    run = api.open(file)[1]
    assert run.table("recall").version == line.table("recall").version
    assert run.report().startswith("narrows")
    with pytest.raises(StoreError, match=r"no table 'recal'.*recall"):
        run.table("recal")


def test_other_settings_are_checked(file):
    with pytest.raises(SettingsError, match=r"rank|RANK"):
        api.open(file).with_settings({"rank.n": 0})
    assert api.open(file).with_settings({"rank.n": 7}).with_settings({"rank.hidden": 64}).settings.rooms["rank"].n == 7


def test_one_run_is_not_compared(file):
    with pytest.raises(StoreError, match="two runs"):
        api.compare(api.open(file)[1])
