"""The as-of of a run that is given none: what the source reaches, from Polars or Spark, and what can be judged."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from narrows.asof import Asof
from narrows.cli.check import reach
from narrows.cli.commands import COMMANDS
from narrows.cli.main import main
from narrows.run import reads
from narrows.run.runner import Runner
from narrows.settings import load_settings
from narrows.source.files import open_source
from narrows.source.instants import known_periods
from tests import world
from tests.source_files import written

DAY, WEEK = timedelta(days=1), timedelta(days=7)
NOW = datetime(2024, 6, 1, 12, tzinfo=UTC)


def day(text: str) -> int:
    return Asof.parse(text).period


def reached(counts: dict[str, int], now: datetime = NOW, horizon: timedelta = WEEK) -> reach.Reach:
    found = reach.of_periods({day(text): count for text, count in counts.items()}, DAY, horizon, now)
    assert found is not None
    return found


def test_the_latest_that_can_be_judged_lies_a_horizon_before_the_last_row():
    found = reached({"2024-01-01": 10, "2024-03-01": 10, "2024-03-10": 5})
    assert (str(found.begins), str(found.ends), str(found.judged), found.rows) == (
        "2024-01-01", "2024-03-10", "2024-03-03", 25,
    )  # fmt: skip
    asof, why = found.choice(4)
    assert str(asof) == "2024-03-03"
    assert "covers the 7 days after, to 2024-03-10" in why


def test_without_the_history_to_learn_from_the_latest_is_taken():
    found = reached({"2024-03-01": 1, "2024-03-29": 1})
    assert (found.history(found.ends), str(found.choice(4)[0])) == (4, "2024-03-29")
    asof, why = found.choice(5)
    assert str(asof) == "2024-03-22"
    assert "5 horizons of 7 days are needed" in why


def test_a_single_day_can_be_reached_and_not_judged():
    found = reached({"2024-03-01": 3})
    assert (str(found.ends), found.judged, str(found.choice(4)[0])) == ("2024-03-01", None, "2024-03-01")


def test_the_day_that_has_not_ended_is_no_asof():
    """A live feed: today's first rows show that yesterday is whole, also where yesterday had none."""
    found = reached({"2024-05-01": 5, "2024-05-30": 5, "2024-06-01": 1})
    assert (str(found.ends), found.rows, found.strays) == ("2024-05-31", 10, 1)


def test_rows_after_a_long_gap_are_dated_wrongly_when_they_are_few():
    usual = {f"2024-01-{n:02}": 100 for n in range(1, 31)}
    found = reached(usual | {"2024-04-15": 1, "2199-01-01": 1})
    assert (str(found.ends), found.strays) == ("2024-01-30", 2)
    found = reached(usual | {"2024-04-15": 500})
    assert (str(found.ends), found.strays) == ("2024-04-15", 0)


def test_a_source_of_the_future_is_read_as_it_is():
    assert str(reached({"2100-01-01": 1, "2100-01-02": 1}).ends) == "2100-01-02"


def settings_of(folder, times: list, name: str = "e.csv", more: str = ""):
    written(folder / name, [{"who": f"u{n}", "what": "x", "at": at} for n, at in enumerate(times)])
    (folder / "narrows.toml").write_text(
        f'[source]\nname = "files"\nevents = "{name}"\n{more}\n[source.event_columns]\nuser_id = "who"\nitem_id = "what"\nevent_time = "at"\n'
    )
    return load_settings(folder / "narrows.toml", {})


TIMES = {
    "iso": ["2024-01-01T10:00:00Z", "2024-01-01 23:30:00.5", "2024-01-02", "2024-01-02T00:30:00+01:00", "", "soon"],
    "days": ["20240101", "20240102", "20240103"],
    "seconds": ["1704100000", "1704200000.5", "-1", "x"],
    "milliseconds": ["1704100000000", "1704200000000"],
}


@pytest.mark.parametrize("kind", TIMES)
def test_polars_counts_as_spark_does(kind, spark, tmp_path):
    settings = settings_of(tmp_path, TIMES[kind])
    fast = known_periods(open_source(settings), DAY, DAY)
    assert fast == reach._by_spark(settings, open_source(settings), DAY, DAY)
    assert fast


def test_a_table_with_types_and_arrivals_counts_alike(spark, tmp_path):
    at = [datetime(2024, 1, day, 5) for day in (1, 2, 3, 4, 9)] + [None]
    loaded = [at[0], at[1] + timedelta(days=4), at[2], None, at[4] - timedelta(days=3), at[0]]
    table = pa.table(
        {"who": [1.0, 2.0, float("nan"), 4.0, 5.0, 6.0], "what": list("abcdef"), "at": at, "loaded": loaded}
    )
    pq.write_table(table, tmp_path / "e.parquet")
    (tmp_path / "narrows.toml").write_text(
        '[source]\nname = "files"\nevents = "e.parquet"\n[source.event_columns]\nuser_id = "who"\nitem_id = "what"\n'
        'event_time = "at"\ningested_at = "loaded"\n'
    )
    settings = load_settings(tmp_path / "narrows.toml", {})
    exact = reach._by_spark(settings, open_source(settings), DAY, DAY)
    fast = known_periods(open_source(settings), DAY, DAY)
    assert exact == {day("2024-01-01"): 1, day("2024-01-04"): 1, day("2024-01-06"): 1}
    assert fast == exact


def test_where_polars_is_not_sure_spark_is_asked(spark, tmp_path):
    settings = settings_of(tmp_path, ["2024-01-01", "2024-01-05T10:00:00 Europe/Berlin"])
    assert known_periods(open_source(settings), DAY, DAY) is None
    assert reach.periods(settings) == {day("2024-01-01"): 1, day("2024-01-05"): 1}


def test_an_expression_of_the_column_map_is_for_spark(spark, tmp_path):
    settings = settings_of(tmp_path, ["1.2.2024", "3.2.2024"])
    text = (tmp_path / "narrows.toml").read_text().replace('"at"', "\"to_timestamp(at, 'd.M.yyyy')\"")
    (tmp_path / "narrows.toml").write_text(text)
    settings = load_settings(tmp_path / "narrows.toml", {})
    assert known_periods(open_source(settings), DAY, DAY) is None
    assert reach.periods(settings) == {day("2024-02-01"): 1, day("2024-02-03"): 1}


def test_the_answer_is_kept_until_the_source_changes(tmp_path, monkeypatch):
    settings = settings_of(tmp_path, ["2024-01-01", "2024-01-20"])
    assert str(reach.reach(settings, NOW).ends) == "2024-01-20"
    monkeypatch.setattr("narrows.source.instants.known_periods", lambda *_: pytest.fail("read again"))
    assert str(reach.reach(settings, NOW).ends) == "2024-01-20"
    monkeypatch.undo()
    settings = settings_of(tmp_path, ["2024-01-01", "2024-01-27"])
    assert str(reach.reach(settings, NOW).ends) == "2024-01-27"


def test_a_source_without_a_time_is_one_line(tmp_path, monkeypatch, capsys):
    settings_of(tmp_path, ["soon", "later"])
    monkeypatch.chdir(tmp_path)
    assert main(["transform", "events"]) == 2
    assert "no row has a user, an item and a readable time" in capsys.readouterr().err


def test_what_it_says_is_what_the_runner_finds(spark, tmp_path):
    """The latest that can be judged is neither pending nor refused, and the next one is pending."""
    settings = load_settings(world.write(tmp_path), {})
    found = reach.reach(settings)
    runner = Runner(settings)
    with runner.store.lock("a test"):
        runner.run("events", found.judged)
        reads.require_reached(runner, found.ends)
        assert reads.truth(runner, "events", found.judged).known_by == found.ends
        with pytest.raises(reads.Pending):
            reads.truth(runner, "events", found.judged + DAY)


def test_a_command_without_an_asof_takes_it_and_says_why(tmp_path, monkeypatch, capsys):
    world.write(tmp_path)
    monkeypatch.chdir(tmp_path)
    taken = []
    run = replace(COMMANDS["run"], run=lambda settings, args: taken.append(str(args.asof)) or 0)
    monkeypatch.setitem(COMMANDS, "run", run)
    assert main(["run"]) == 0
    assert main(["run", "--asof", "2024-03-01"]) == 0
    assert taken == ["2024-04-08", "2024-03-01"]
    assert "as of 2024-04-08: the latest that can be judged" in capsys.readouterr().err


def test_the_quick_look_has_the_rules_of_the_cleaning():
    from narrows.source import instants
    from stages.events import clean, rows

    assert reach.FOLLOWING_HORIZONS == clean.FOLLOWING_HORIZONS
    assert instants.MILLISECONDS_FROM == rows.MILLISECONDS_FROM
