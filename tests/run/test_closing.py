"""Lists are judged once their horizon has closed, on what was published then; nothing is made of a period to find out."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from narrows.cli.report import last_runs, record
from narrows.cli.running import run_line as whole_line
from narrows.run import closing
from narrows.run.runner import Runner
from narrows.settings import load_settings
from narrows.stage import Asof
from tests import world
from tests.fixtures import Line

WEEK = timedelta(days=7)


@pytest.fixture
def copy(line: Line, tmp_path: Path) -> Line:
    """The finished run in a folder of its own, its lists not judged, and nothing made of the horizon after it."""
    shutil.copytree(line.file.parent, tmp_path / "copy")
    tables = tmp_path / "copy" / "var" / "tables"
    shutil.rmtree(tables / "evaluation")
    shutil.rmtree(tables / "events" / str(line.asof + WEEK))
    file = tmp_path / "copy" / line.file.name
    return Line(file, Runner(load_settings(file, {})), line.asof)


class Clock(datetime):
    @classmethod
    def now(cls, tz=None):
        return datetime(2024, 4, 15, 12, tzinfo=UTC)


def test_a_period_has_closed_once_a_later_one_has_rows_or_it_is_over(copy: Line, monkeypatch):
    before = copy.runner.store.partitions("events")
    asofs = [Asof.parse(f"2024-04-{day}") for day in (14, 15, 16)]
    assert [closing.closed(copy.runner, asof) for asof in asofs] == [True, True, False]
    monkeypatch.setattr(closing, "datetime", Clock)
    assert [closing.closed(copy.runner, asof) for asof in asofs] == [True, False, False], "the fifteenth is going on"
    assert copy.runner.store.partitions("events") == before


def test_a_later_run_judges_what_was_published_then(line: Line, copy: Line):
    runner, later = copy.runner, copy.asof + WEEK
    with runner.store.lock("a test"):
        assert closing.judge(runner, "rank", later) == [], "it waits for nothing"
        runner.run("events", later)
        judged = closing.judge(runner, "evaluation", later)
        assert closing.judge(runner, "evaluation", later) == [], "once"
    assert [table.asof for table in judged] == [copy.asof]
    assert judged[0].arrow().equals(line.table("evaluation").arrow())
    made = {table.name for table in runner.new_versions}
    assert made == {"events", "evaluation"}, "what it was published with is not made again"


def test_what_was_made_before_its_end_is_not_complete(copy: Line):
    table = copy.table("user_profiles")
    assert table.complete
    table.meta["made_at"] = f"{copy.asof.end - timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"
    assert not table.complete


@pytest.mark.slow
def test_hours_that_arrive_one_by_one_are_judged_one_by_one(tmp_path):
    """Each run sees an hour more; from the second on it judges the lists of the hour before, and nothing of the future."""
    hour, rows = timedelta(hours=1), world.events(step=timedelta(hours=1)).to_pylist()
    for number in range(3):
        asof = world.HOURLY + number * hour
        table = world.pa.Table.from_pylist([row for row in rows if row["at"] < asof.end])
        hours = {"source": {"grain": "hour", "horizon": "1h"}}
        settings = load_settings(world.write(tmp_path, hours, table), {})
        whole_line(settings, asof)
        entries = {each["asof"]: each["facts"]["users"] for each in record.read_all(settings.state)}
        assert [bool(users) for users in entries.values()] == [True] * number + [False]
        assert max(Runner(settings).store.partitions("events")) == asof
    assert len(last_runs.last_judged(settings.state, "files", str(asof))) == 2


def test_an_empty_hour_of_a_live_source_is_no_reason_to_wait_and_a_late_one_is(monkeypatch):
    monkeypatch.setattr(closing, "datetime", Clock)  # it is 2024-04-15, noon
    hour = timedelta(hours=1)
    at = partial(Asof.parse, grain=hour)
    assert closing.quiet(at("2024-04-15T10"), at("2024-04-15T08"))
    assert not closing.quiet(at("2024-04-15T11"), at("2024-04-15T10")), "it ended just now: its rows may be late"
    assert not closing.quiet(at("2024-04-15T10"), at("2024-04-14T10")), "nothing for a day is no empty hour"
    assert not closing.quiet(at("2017-10-09T10"), at("2017-10-09T08")), "a replay"
    assert not closing.quiet(Asof.parse("2024-04-14"), Asof.parse("2024-04-13")), "an empty day"
