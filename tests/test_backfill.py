"""narrows backfill: the partitions that daily runs make, many to a job; what is there stays, and what was stopped goes on."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from narrows.asof import Asof
from narrows.cli.main import main
from narrows.run import backfill as backfills
from narrows.run.backfill import asofs_between, backfill, rooms
from narrows.run.runner import Runner
from narrows.settings import load_settings
from tests import arrivals
from tests.arrivals import START, arrived, drop

DAYS = 3
SETTINGS = """[source]
name = "files"
events = "events"
horizon = "1d"

[events]
max_bad_share = 1.0
[item_profiles]
demand_cuts = 0
[spark]
master = "local[1]"
shuffle_partitions = 1
"""


def write(folder: Path, rows=None) -> Path:
    for day in range(DAYS):
        some = arrivals.log(0, DAYS) if rows is None else rows
        drop(folder, f"{day}", [{**row, "event_type": "event"} for row in some if arrived(row) == day])
    (folder / "narrows.toml").write_text(SETTINGS)
    return folder / "narrows.toml"


def asof(day: int) -> Asof:
    return Asof.parse(f"{START + timedelta(days=day):%Y-%m-%d}")


def versions(runner: Runner) -> dict[tuple[str, str], str]:
    found = {
        (name, each): runner.store.current(name, each)
        for name in rooms(runner)
        for each in runner.store.partitions(name)
    }
    return {(name, str(each)): table.version for (name, each), table in found.items() if table}


def tables(runner: Runner) -> dict[tuple[str, str], list]:
    found = {}
    for name in rooms(runner):
        for each in runner.store.partitions(name):
            found[name, str(each)] = sorted(map(str, runner.store.current(name, each).arrow().to_pylist()))
    return found


def test_a_range_is_every_period_of_the_grain():
    hour = timedelta(hours=1)
    assert [str(each) for each in asofs_between(Asof.parse("2024-01-30"), Asof.parse("2024-02-01"))] == [
        "2024-01-30", "2024-01-31", "2024-02-01",
    ]  # fmt: skip
    assert len(asofs_between(Asof.parse("2024-01-30T00", hour), Asof.parse("2024-01-31", hour))) == 48
    with pytest.raises(ValueError, match="--to 2024-01-01 lies before --from 2024-01-02"):
        asofs_between(Asof.parse("2024-01-02"), Asof.parse("2024-01-01"))


def test_daily_runs_and_a_backfill_make_the_same_versions_and_rows(spark, tmp_path, monkeypatch, capsys, caplog):
    """Days one by one as tasks of the DAG make them; all at once; and in two halves, the first of them stopped."""
    daily = Runner(load_settings(write(tmp_path / "daily")))
    assert rooms(daily) == ["events", "user_profiles", "item_profiles"]
    for day in range(DAYS):
        for name in rooms(daily):
            daily.tables(name, [asof(day)])
    file = write(tmp_path / "ranged")
    for name in ("events",):  # the same files, so that the source is the same
        for path in (tmp_path / "daily" / name).iterdir():
            stat = path.stat()
            import os

            os.utime(tmp_path / "ranged" / name / path.name, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    monkeypatch.setattr(backfills, "AT_ONCE", 2)
    stopped = Runner(load_settings(file))

    def stop(progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backfill(stopped, [asof(day) for day in range(DAYS)], stop)
    assert {day for _, day in versions(stopped)} == {"2024-01-01", "2024-01-02"}
    assert main(["--file", str(file), "backfill", "--from", "2024-01-01", "--to", "2024-01-03", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["made"], said["there"]) == (1, 2)
    ranged = Runner(load_settings(file))
    assert versions(ranged) == versions(daily)
    assert tables(ranged) == tables(daily)
    assert backfill(ranged, [asof(day) for day in range(DAYS)]).there == DAYS


def test_a_range_that_is_none_is_one_line(tmp_path, capsys):
    file = write(tmp_path)
    assert main(["--file", str(file), "backfill", "--from", "2024-01-05", "--to", "2024-01-01"]) == 2
    assert "exchange them" in capsys.readouterr().err
    assert main(["--file", str(file), "backfill", "--from", "soon", "--to", "2024-01-01"]) == 2
    assert "give it as YYYY-MM-DD" in capsys.readouterr().err
