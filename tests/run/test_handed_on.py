"""A room under the DAG reads just the versions that earlier tasks handed on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from narrows.run.runner import Runner
from narrows.store.partitions import StoreError


@pytest.fixture
def runner(line):
    found = Runner(line.runner.settings)
    found.given = {
        (name, line.asof): line.table(name).version for name in ("events", "user_profiles", "item_profiles", "recall")
    }
    return found


def test_what_was_handed_on_is_read_and_nothing_of_it_is_made(runner, line, monkeypatch):
    monkeypatch.setattr(Runner, "tables", lambda *_: pytest.fail("it would be made"))
    assert runner.table("recall", line.asof).version == line.table("recall").version
    tables = runner.shard_tables(runner.room("prerank"), line.asof)
    assert {name: table.version for name, table in tables.items()} == {
        name: line.table(name).version for name in tables
    }


def test_a_worker_that_misses_a_version_fails_with_the_remedy(runner, line, monkeypatch):
    monkeypatch.setattr(Runner, "tables", lambda *_: pytest.fail("it would be made"))
    runner.given = {**runner.given, ("recall", line.asof): "0" * 16}
    with pytest.raises(
        StoreError, match=r"recall as of 2024-04-07 was made as 0{16}.* same store .*clear the task recall"
    ):
        runner.reads(runner.room("prerank"), line.asof)


def test_the_flag_names_a_room_and_a_version(capsys, line):
    from narrows.cli.main import main

    with pytest.raises(SystemExit):
        main(["--file", str(line.file), "transform", "prerank", "--reads", "recall"])
    assert "--reads" in capsys.readouterr().err
    command = ["transform", "prerank", "--asof", str(line.asof), f"--reads=recall={'0' * 16}"]
    assert main(["--file", str(line.file), *command]) == 2
    assert "does not have it" in capsys.readouterr().err


def test_events_are_those_that_were_handed_on_even_where_later_ones_are_published(runner, line):
    """A replay has later events, which serve earlier as-ofs; the task reads what its run made."""
    from narrows.run import reads

    assert reads.known(runner, "events", line.asof) == replace(line.table("events"))
