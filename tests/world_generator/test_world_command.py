"""``narrows world``: what it writes, prints and refuses."""

from __future__ import annotations

import json

import polars as pl
import pytest

from narrows.cli.data import world as command
from narrows.cli.main import main
from narrows.world.truth import Truth

SMALL = ("--users", "60", "--items", "150", "--days", "12")


def test_it_writes_a_world_and_says_what_it_is_worth(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["world", "one", *SMALL, "--set", "position_bias=0.5", "--seed", "4"]) == 0
    printed = capsys.readouterr().out
    assert "60 users and 150 items in 12 days from 2024-01-01" in printed
    assert "cd one" in printed
    world = Truth.load(tmp_path / "one").world
    assert (world.users, world.position_bias, world.seed) == (60, 0.5, 4)


def test_its_json_has_the_rows_that_the_files_have(tmp_path, capsys):
    assert main(["world", str(tmp_path / "two"), *SMALL, "--json", "--start", "2025-02-03"]) == 0
    facts = json.loads(capsys.readouterr().out)
    log = pl.read_parquet(tmp_path / "two" / "log" / "*.parquet")
    found = dict(log.with_columns(pl.col("event_type").cast(str)).group_by("event_type").len().iter_rows())
    assert {kind: count for kind, count in facts["rows"].items() if count} == found
    assert facts["total_rows"] == len(log)
    assert str(log["event_time"].min())[:10] == facts["settings"]["start"] == "2025-02-03"
    worth = facts["expected_purchases"]
    assert worth["oracle"] > worth["logging"] > 0
    assert worth["oracle"] > worth["popular"] > 0


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (("--users", "many"), "users = 'many' has the wrong type: give a whole number"),
        (("--set", "position_bais=1"), "Did you mean 'position_bias'?"),
        (("--set", "hours=2"), "hours = 2: give a number from 0 to 1"),
        (("--set", "hours"), "write KEY=VALUE"),
        (("--start", "2024-13-01"), "month must be in 1..12"),
        (("--items", "30"), "lower them"),
    ],
)
def test_what_it_refuses_is_one_line(given, says, tmp_path, capsys):
    assert main(["world", str(tmp_path / "none"), *given]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert not (tmp_path / "none").exists()


def test_a_world_that_is_there_is_kept_without_force(tmp_path, capsys):
    assert main(["world", str(tmp_path), *SMALL]) == 0
    assert main(["world", str(tmp_path), *SMALL, "--seed", "2"]) == 2
    assert "Replace it with --force" in capsys.readouterr().err
    assert Truth.load(tmp_path).world.seed == 1
    assert main(["world", str(tmp_path), *SMALL, "--seed", "2", "--force"]) == 0
    assert Truth.load(tmp_path).world.seed == 2


def test_progress_says_how_long_it_will_take(monkeypatch):
    now, said = iter([0.0, 10.0, 11.0, 20.0, 40.0]), []
    monkeypatch.setattr(command.time, "monotonic", lambda: next(now))
    monkeypatch.setattr(command.log, "info", lambda text, *values: said.append(text % values))
    say = command.progress(100)
    for done in (20, 30, 50, 100):
        say(1000 * done, done)
    assert said == [
        "20,000 rows, 20 % of the users; about 40 s left",
        "50,000 rows, 50 % of the users; about 20 s left",
    ]
