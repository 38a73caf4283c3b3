"""What is kept of a run: its design, versions and numbers."""

from __future__ import annotations

import json
import shutil

import pytest

from narrows.cli.report import record
from narrows.config.design import LONGEST, design_name, design_of
from narrows.settings import load_settings
from narrows.store.partitions import StoreError


def settings_with(tmp_path, text):
    file = tmp_path / "narrows.toml"
    file.write_text(text)
    return load_settings(file, {})


def test_a_design_is_what_differs_from_the_defaults(tmp_path):
    assert design_of(settings_with(tmp_path, '[store]\nroot = "elsewhere"\n[rank]\nn = 60\n')) == {}
    design = design_of(
        settings_with(tmp_path, "[rank]\nn = 40\n[pipeline]\nwindows = 4\n[recall.channels.ease]\nquota = 5\n")
    )
    assert design == {"pipeline.windows": 4, "recall.channels.ease.quota": 5, "rank.n": 40}


def test_the_name_of_a_design_says_it_and_is_cut():
    assert design_name({}) == "defaults"
    assert design_name({"rank.n": 40, "rank.model": "din"}) == "rank.n=40 rank.model=din"
    assert len(design_name({f"rank.{n}": n for n in range(99)})) == LONGEST


@pytest.fixture
def state(line, tmp_path):
    """The settings of the finished run in a folder of its own."""
    root = tmp_path / "world"
    shutil.copytree(line.file.parent, root)
    return load_settings(root / "narrows.toml", {})


def test_a_run_is_recorded_once_with_what_it_made(state, line):
    first = record.write(state, line.runner.run_id, line.asof, "abc")
    assert first["number"] == 1
    assert {room: table["version"] for room, table in first["tables"].items()} == {
        room: line.table(room).version for room in first["tables"]
    }
    assert not any(table["cached"] for table in first["tables"].values())
    assert first["facts"]["stages"][0]["seconds"] > 0
    assert record.write(state, "another run that found everything", line.asof, "abc") == first
    assert record.read(state.state, "1") == record.read(state.state, str(line.asof)) == json.loads(json.dumps(first))


def test_another_design_is_another_record_with_its_cached_rooms_marked(state, line):
    record.write(state, line.runner.run_id, line.asof, "abc")
    store = line.runner.store.__class__(state.state / "tables")
    table = store.current("rank", line.asof)
    other = table.version[::-1].ljust(64, "0")
    draft = store.draft("rank", line.asof, other)
    shutil.copytree(table._folder, draft, dirs_exist_ok=True)
    store.publish("rank", line.asof, draft, table.meta | {"fingerprint": other, "run_id": "second"})
    second = record.write(state, "second", line.asof, "abc")
    assert second["number"] == 2
    assert [room for room, made in second["tables"].items() if not made["cached"]] == ["rank"]
    assert [each["number"] for each in record.read_all(state.state)] == [1, 2]


def test_an_unknown_run_is_named_with_those_there_are(state, line):
    record.write(state, line.runner.run_id, line.asof, "abc")
    with pytest.raises(StoreError, match=rf"no run '7'.*1 \({line.asof} .*\)"):
        record.read(state.state, "7")
