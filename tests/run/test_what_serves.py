"""What serves after a run is what the run says: also where every table is cached, and where the feed is missing."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from narrows.run import reads
from narrows.run.runner import Runner
from narrows.serving import reading, schema
from narrows.settings import load_settings
from narrows.source.errors import SourceError
from tests.fixtures import Line, run_line

LISTS = ("rerank", "recommendations")


@pytest.fixture
def copy(line: Line, tmp_path: Path) -> Line:
    """The finished run in a folder of its own."""
    shutil.copytree(line.file.parent, tmp_path / "copy")
    file = tmp_path / "copy" / line.file.name
    return Line(file, Runner(load_settings(file, {})), line.asof)


def served(line: Line) -> list[tuple]:
    """Every row that product services read."""
    engine = schema.open_engine(load_settings(line.file, {}).serving_url)
    with engine.connect() as connection:
        query = "select user_id, rank, item_id, release_id from current_recommendation order by 1, 2"
        rows = [tuple(row) for row in connection.execute(sa.text(query))]
    engine.dispose()
    return rows


def published(line: Line) -> list[tuple]:
    """The rows of the table, as the report judges them."""
    columns = ["user_id", "rank", "item_id"]
    rows = line.table("recommendations").arrow(columns).sort_by([(name, "ascending") for name in columns[:2]])
    return [tuple(row.values()) for row in rows.to_pylist()]


def test_a_deleted_database_is_filled_again(copy: Line):
    before = served(copy)
    assert [row[:3] for row in before] == published(copy)
    (copy.file.parent / "var" / "recommendations.db").unlink()
    again = run_line(copy.file, copy.asof, ("recommendations",))
    assert again.runner.new_versions == []
    assert served(copy) == before


def test_another_database_is_filled(copy: Line):
    url = f"sqlite:///{copy.file.parent}/other.db"
    copy.file.write_text(copy.file.read_text() + f'\n[serving]\nurl = "{url}"\n')
    assert run_line(copy.file, copy.asof, ("recommendations",)).runner.new_versions == []
    assert [row[:3] for row in served(copy)] == published(copy)


def test_a_policy_that_is_taken_back_gives_the_lists_back(copy: Line):
    before, blocked, settings = served(copy), published(copy)[0][2], copy.file.read_text()
    (copy.file.parent / "block.toml").write_text(f'[block]\nitems = ["{blocked}"]\n')
    copy.file.write_text(settings.replace('policy = ""', 'policy = "block.toml"'))
    assert run_line(copy.file, copy.asof, LISTS).runner.new_versions
    assert blocked not in {row[2] for row in served(copy)}
    copy.file.write_text(settings)
    again = run_line(copy.file, copy.asof, LISTS)
    assert again.runner.new_versions == []
    assert served(copy) == before
    assert [row[:3] for row in before] == published(again)


@pytest.mark.parametrize("horizons", [2, 40], ids=["soon after", "far ahead"])
def test_an_asof_that_the_source_does_not_reach_is_refused_before_anything_is_learnt(copy: Line, horizons: int):
    before, models = served(copy), set((copy.file.parent / "var" / "tables").glob("*.model/*/*"))
    beyond = copy.asof + horizons * timedelta(days=7)
    for rooms in (("events",), LISTS):
        with pytest.raises(SourceError, match=r"ends with 2024-04-15: .* Take --asof 2024-04-15, .* --force"):
            run_line(copy.file, beyond, rooms)
    assert served(copy) == before
    assert set((copy.file.parent / "var" / "tables").glob("*.model/*/*")) == models


def test_a_forced_replay_is_kept_and_the_next_normal_run_goes_live(copy: Line):
    """Whoever replays a day without its feed does not keep later runs from going live."""
    beyond = copy.asof + timedelta(days=14)
    runner = Runner(copy.runner.settings, force=True)
    with runner.store.lock("a test"):
        runner.run("events", beyond)
        assert reads.hold(runner, beyond) == "the source ends with 2024-04-15"
        table = copy.table("recommendations")
        given = {"rerank": copy.table("rerank"), "settings": runner.settings, "hold": reads.hold(runner, beyond)}
        (copy.file.parent / "var" / "recommendations.db").unlink()
        notes = runner.room("recommendations").publish(table, asof=copy.asof, **given)
    assert not notes["live"]
    assert served(copy) == []
    run_line(copy.file, copy.asof, ("recommendations",))
    assert [row[:3] for row in served(copy)] == published(copy)
    engine = schema.open_engine(runner.settings.serving_url)
    assert reading.state(engine, notes["release_id"]) == {"live": True, "kept_because": ""}
    engine.dispose()
