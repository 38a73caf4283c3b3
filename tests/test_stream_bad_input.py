"""What arrives half written, changed or with other columns, and feeds that cannot be: a named outcome, and nothing is lost."""

from __future__ import annotations

import json
import logging
from datetime import timedelta

import pyarrow as pa
import pytest

from narrows.cli.main import main
from narrows.config.stream import StreamSettings
from narrows.settings import SettingsError, load_settings
from narrows.source.errors import SourceAway, SourceError
from tests import arrivals
from tests.arrivals import contents
from tests.streams import a_day, land, opened, partition, take, write


def test_a_half_written_file_is_tried_again_and_nothing_is_lost(spark, tmp_path, capsys):
    write(tmp_path)
    day = a_day(3, 2)
    command = ["--file", str(tmp_path / "narrows.toml"), "stream", "--json"]
    land(tmp_path, "0", day[0])
    file = land(tmp_path, "1", day[1])
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    (tmp_path / "landing" / "_2.parquet").write_bytes(content[:100])
    for _ in range(2):
        assert main(command) == 75
        assert "1.parquet is not a readable Parquet file" in capsys.readouterr().err
        assert not list((tmp_path / "events").glob("*.parquet"))
    file.write_bytes(content)
    assert main(command) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["rows"], len(facts["pieces"])) == (len(day[0]) + len(day[1]), 1)
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 0


def test_a_gained_column_is_taken_and_another_type_is_refused_until_it_is_mended(spark, tmp_path):
    settings, day = write(tmp_path), a_day(4, 3)
    land(tmp_path, "0", day[0])
    take(spark, settings)
    more = arrivals.SCHEMA.append(pa.field("shelf", pa.string()))
    land(tmp_path, "1", [row | {"shelf": "top"} for row in day[1]], more)
    assert take(spark, settings).rows == len(day[1])
    other = arrivals.SCHEMA.set(arrivals.SCHEMA.get_field_index("price"), pa.field("price", pa.string()))
    file = land(tmp_path, "2", [row | {"price": "1.5"} for row in day[2]], other)
    with pytest.raises(
        SourceError, match=r"2.parquet: column 'price' was double and is string. Replace or remove the file"
    ):
        take(spark, settings)
    assert len(list((tmp_path / "events").glob("*.parquet"))) == 2
    file.unlink()
    land(tmp_path, "2", day[2])  # under the same name: the micro-batch is repeated with it
    assert take(spark, settings).rows == len(day[2])
    streamed = partition(spark, settings, tmp_path / "s", 2)
    assert contents(streamed)[0] == contents(partition(spark, settings, tmp_path / "b", 2, events="landing"))[0]


def test_a_text_file_that_has_grown_is_read_again_each_row_once(spark, tmp_path, caplog):
    settings = write(tmp_path)
    lines = [f"u{n},i{n},2024-01-01T0{n % 3}:10:00,purchase\n" for n in range(30)]
    file = tmp_path / "landing" / "log.csv"
    file.write_text("user_id,item_id,event_time,event_type\n" + "".join(lines[:20]) + lines[20][:5])
    assert take(spark, settings).rows == 21
    file.write_text("user_id,item_id,event_time,event_type\n" + "".join(lines))
    logging.getLogger("narrows").propagate = True
    with caplog.at_level(logging.INFO, logger="narrows"):
        assert take(spark, settings).rows == 30
    assert "log.csv changed since it was taken, and is read again" in caplog.text
    assert take(spark, settings).rows == 0
    table = partition(spark, settings, tmp_path / "s", 2)
    assert sorted(table.arrow()["user_id"].to_pylist()) == sorted(f"u{n}" for n in range(30))
    assert table.notes["quarantine"]["duplicate"] == 20


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"landing": "", "lateness": "1m"}, "names no feed"),
        ({"landing": "events/new"}, "must not lie in each other"),
        ({"kafka": "k:9092", "topic": "t"}, "are two feeds"),
        ({"landing": "", "kafka": "k:9092"}, "kafka and topic are given together"),
        ({"landing": "s3://bucket/new"}, "give a folder"),
    ],
)
def test_a_feed_that_cannot_be_is_refused(tmp_path, changed, says):
    write(tmp_path)
    env = {f"NARROWS_STREAM__{key}".upper(): value for key, value in changed.items()}
    with pytest.raises(SettingsError, match=says):
        opened(load_settings(tmp_path / "narrows.toml", env))


def test_a_feed_that_another_process_takes_is_left_to_it(tmp_path):
    from filelock import FileLock

    settings = write(tmp_path)
    place = opened(settings).place
    place.mkdir(parents=True)
    with FileLock(place / "LOCK"), pytest.raises(SourceAway, match="another process takes this feed"):
        take(None, settings)
    assert StreamSettings().lateness_length == timedelta(minutes=10)
