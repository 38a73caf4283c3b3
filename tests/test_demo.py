"""``narrows demo``: a small shop that runs by `narrows` alone, outside the repository."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from narrows.cli import invocation
from narrows.cli.data.demo_shop import TOGETHER, shop
from narrows.cli.main import main
from narrows.settings import load_settings
from tests.fixtures import Line
from tests.paths import ROOT


@pytest.fixture(scope="module")
def tables() -> dict[str, pl.DataFrame]:
    return shop(1)


def test_the_same_seed_makes_the_same_shop(tables):
    assert all(table.equals(other) for table, other in zip(tables.values(), shop(1).values(), strict=True))
    assert not tables["orders"].equals(shop(2)["orders"])


def test_the_shop_has_something_to_learn(tables):
    """Staples come back, seasons change what is bought, and what goes together follows a week later."""
    orders = (
        tables["orders"].join(tables["products"], "sku").with_columns(week=pl.col("order_id").str.slice(-2).cast(int))
    )
    again = orders.group_by("customer_id", "sku").agg(pl.col("order_id").n_unique().alias("orders"))
    assert (again["orders"] >= 5).mean() > 0.05
    berries = orders.filter(pl.col("subcategory") == "Berries")
    assert berries.filter(pl.col("week") >= 13).height > 1.25 * berries.filter(pl.col("week") < 13).height
    bought = orders.select("customer_id", "week", "subcategory").unique()
    after = bought.filter(pl.col("subcategory") == "Coffee").select("customer_id", pl.col("week") + 1)
    filters = bought.filter(pl.col("subcategory") == TOGETHER["Coffee"]).drop("subcategory").with_columns(has=True)
    followed = after.join(filters, ["customer_id", "week"], "left")["has"].fill_null(False).mean()
    assert followed > 2 * filters.height / (300 * 26)
    baby = orders.join(tables["customers"], "customer_id").filter(pl.col("category") == "Baby")["segment"]
    assert (baby == "Family").all()
    assert not set(orders["sku"]) - set(tables["products"]["sku"])


def test_it_writes_a_data_set_with_its_settings(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["demo", "shop"]) == 0
    printed = capsys.readouterr().out
    assert "300 customers, 370 products" in printed
    assert printed.splitlines()[1].strip() == "cd shop"
    assert printed.splitlines()[2].endswith(" run")
    settings = load_settings(tmp_path / "shop" / "narrows.toml", {})
    assert (settings.source.horizon, settings.pipeline_settings.windows) == ("7d", 5)
    assert settings.source.user_columns == {"user_id": "customer_id", "segment": "segment"}
    before = (tmp_path / "shop" / "orders.csv").read_bytes()
    assert main(["demo", "shop"]) == 2
    assert "is there already, and is kept. Replace it with --force" in capsys.readouterr().err
    assert main(["demo", "shop", "--force", "--seed", "2"]) == 0
    assert (tmp_path / "shop" / "orders.csv").read_bytes() != before
    (tmp_path / "file").touch()
    assert main(["demo", "file"]) == 2


def test_the_next_commands_name_a_user_and_an_item_that_exist(line: Line, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda _: "/usr/bin/narrows")
    settings, lists = load_settings(line.file, {}), line.table("recommendations")
    monkeypatch.chdir(line.file.parent)
    pages, show, why = invocation.next_steps(settings, lists)
    assert pages.startswith("narrows ui ")
    _, _, user, item = why.split()[:4]
    assert show.startswith(f"narrows show {user} ")
    rows = lists.arrow(["user_id", "item_id"]).to_pylist()
    assert {"user_id": user, "item_id": item} in rows
    monkeypatch.chdir(tmp_path)
    assert invocation.next_steps(settings, lists)[1].startswith(f"narrows --file {line.file} show {user}")
    monkeypatch.chdir(ROOT)
    assert invocation.next_steps(settings, lists)[0].startswith("make ui ")


def test_a_program_that_the_shell_does_not_find_is_named_by_its_path(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda _: None)
    script = tmp_path / "a b" / "narrows"
    script.parent.mkdir()
    monkeypatch.setattr(sys, "executable", str(script.with_name("python")))
    assert invocation.program().endswith("python' -m narrows")
    script.touch()
    assert invocation.program() == f"'{script}'"
    monkeypatch.chdir(tmp_path)
    assert invocation.program() == "'a b/narrows'"
    assert invocation.program(script.parent) == "narrows"


@pytest.mark.slow
def test_the_demo_runs_outside_the_repository_by_narrows_alone(tmp_path):
    env = {key: value for key, value in os.environ.items() if not key.startswith("NARROWS_")}
    env["PYTHONPATH"] = str(ROOT)

    def narrows(*argv: str, folder: Path = tmp_path / "shop") -> str:
        command = [sys.executable, "-m", "narrows", *argv]
        done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    narrows("demo", "shop", folder=tmp_path)
    printed = narrows("run")
    assert "as of 2024-06-23 · judged on the 7 days after" in printed
    assert "every scoring stage orders at least as well" in printed
    facts = json.loads(narrows("report", "--json"))
    own = next(each for each in facts["lists"] if each["list"] == "own_then_popular")
    published = next(each for each in facts["lists"] if each["kind"] == "published")
    assert published["recall"]["value"] > own["recall"]["value"]
    show, why = (
        step.split("   ")[0].split(" -m narrows ")[-1].split("/narrows ")[-1].split() for step in facts["next"][1:]
    )
    item = why[-1]
    assert item in narrows(*show[-2:])
    assert "shown at position" in narrows(*why[-3:])
    narrows("takedown", item)
    assert item not in narrows(*show[-2:])
    assert "evaluation" in narrows("list")
