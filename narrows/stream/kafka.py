"""A topic of Kafka as a streaming source of Spark: a Python data source over librdkafka, which needs no jar.

Offsets are Spark's: they are written into the checkpoint before a micro-batch is read, so that one that was stopped is read
again with the same messages. Nothing is committed to the broker, and no consumer group is joined.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyspark.sql.datasource import DataSource, DataSourceStreamReader, InputPartition
from pyspark.sql.streaming.datasource import ReadAllAvailable, ReadLimit, ReadMaxRows, SupportsTriggerAvailableNow

if TYPE_CHECKING:
    import pyarrow as pa
    from confluent_kafka import Consumer, Message

FORMAT = "narrows_kafka"
UNREADABLE = "kafka_value"
"""The column with a message that is no JSON object, as text."""
LINES = 10_000
"""Messages that are handed to Spark at once."""
SECONDS = 30.0
"""How long a broker may take to answer."""
AWAY, LOST = "[stream] Kafka at ", "[stream] topic "
"""How messages begin that come back from Spark's processes as text: of what may mend itself, and of what is lost."""

Offsets = dict[str, int]
"""The offset of the next message, by the partition's number."""


@dataclass
class Span(InputPartition):
    """Messages of one partition of a topic."""

    number: int
    begin: int
    end: int
    """The first offset that is not read."""


class KafkaSource(DataSource):
    """The messages of a topic as lines of JSON, in the column ``value``.

    Options: ``servers`` (host:port, several with commas), ``topic``, ``max_rows`` (messages of a micro-batch) and ``properties``
    (a file of librdkafka's properties, or empty).
    """

    @classmethod
    def name(cls) -> str:
        return FORMAT

    def schema(self) -> str:
        return "value string"

    def streamReader(self, schema: Any) -> DataSourceStreamReader:
        return KafkaReader(self.options)


class KafkaReader(DataSourceStreamReader, SupportsTriggerAvailableNow):
    """Reads what the topic had when the query started."""

    def __init__(self, options: Mapping[str, str]) -> None:
        self.servers, self.topic, self.max_rows = options["servers"], options["topic"], int(options["max_rows"])
        self.properties = options["properties"]
        self.target: Offsets | None = None

    def initialOffset(self) -> Offsets:
        """The oldest messages that the topic has."""
        return {number: low for number, (low, _) in self._there().items()}

    def prepareForTriggerAvailableNow(self) -> None:
        """Take what there is now for all."""
        self.target = {number: high for number, (_, high) in self._there().items()}

    def getDefaultReadLimit(self) -> ReadLimit:
        return ReadMaxRows(self.max_rows)

    def latestOffset(self, start: Offsets, limit: ReadLimit) -> Offsets:
        """The end of the next micro-batch: every partition goes on by its share of the limit."""
        there = self._there()
        target = self.target if self.target is not None else {number: high for number, (_, high) in there.items()}
        share = self.max_rows // len(target) or 1
        end = dict(start)
        for number, last in target.items():
            first = start.get(number, there[number][0])
            if first > there[number][1]:
                raise RuntimeError(f"{LOST}{self.topic} has fewer messages than were read of it: it was made again")
            end[number] = last if isinstance(limit, ReadAllAvailable) else min(max(last, first), first + share)
        return end

    def partitions(self, start: Offsets, end: Offsets) -> list[InputPartition]:
        """A task for each partition that has messages."""
        there, spans = self._there(), list[InputPartition]()
        for number, last in sorted(end.items()):
            low = there[number][0]
            first = start.get(number, min(low, last))
            if first < min(low, last):
                raise RuntimeError(
                    f"{LOST}{self.topic} keeps messages too short: of partition {number} those from {first} to before {low} are "
                    "gone and were not read"
                )
            if first < last:
                spans.append(Span(int(number), first, last))
        return spans

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        """The messages of a span, in order. Offsets that compaction and transactions leave empty are passed over."""
        import pyarrow as pa
        from confluent_kafka import KafkaError, TopicPartition

        assert isinstance(partition, Span)
        following, deadline = partition.begin, time.monotonic() + SECONDS
        with self._consumer({"enable.partition.eof": True}) as consumer:
            consumer.assign([TopicPartition(self.topic, partition.number, partition.begin)])
            while following < partition.end:
                messages = consumer.consume(min(LINES, partition.end - following), 0.5)
                lines = []
                for message in messages:
                    error, offset = message.error(), int(message.offset() or 0)
                    if error is None and offset < partition.end:
                        lines.append(line(message))
                    elif error is not None and error.code() != KafkaError._PARTITION_EOF:
                        raise RuntimeError(f"{AWAY}{self.servers}: {error.str()}")
                    following, deadline = offset + (error is None), time.monotonic() + SECONDS
                if lines:
                    yield pa.RecordBatch.from_pydict({"value": pa.array(lines, pa.string())})
                if time.monotonic() > deadline:
                    raise RuntimeError(f"{AWAY}{self.servers}: no message of {self.topic} came for {SECONDS:.0f} s")

    def _there(self) -> dict[str, tuple[int, int]]:
        """The offset of the oldest message and that of the next one to come, by partition."""
        from confluent_kafka import KafkaException, TopicPartition

        with self._consumer({}) as consumer:
            try:
                topic = consumer.list_topics(self.topic, SECONDS).topics[self.topic]
                if topic.error:
                    raise KafkaException(topic.error)
                there = {
                    str(number): consumer.get_watermark_offsets(TopicPartition(self.topic, number), SECONDS)
                    for number in topic.partitions
                }
            except KafkaException as error:
                raise RuntimeError(f"{AWAY}{self.servers}: {self.topic}: {error.args[0].str()}") from None
        if None in there.values():
            raise RuntimeError(f"{AWAY}{self.servers}: {self.topic}: no answer for {SECONDS:.0f} s")
        return there

    @contextmanager
    def _consumer(self, more: Mapping[str, Any]) -> Iterator[Consumer]:
        from confluent_kafka import Consumer

        consumer = Consumer(
            {
                "log_level": 3, **properties(self.properties), "bootstrap.servers": self.servers, "group.id": "narrows",
                "enable.auto.commit": False, "auto.offset.reset": "error", **more,
            }
        )  # fmt: skip
        try:
            yield consumer
        finally:
            consumer.close()


def line(message: Message) -> str:
    """A message as a line of JSON: its own object, and where and when the broker had it (``kafka_partition``,

    ``kafka_offset``, ``kafka_timestamp``). What is no object stands in `UNREADABLE`, as text.
    """
    kind, milliseconds = message.timestamp()
    at = datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds") if kind else None
    own = {"kafka_partition": message.partition(), "kafka_offset": message.offset(), "kafka_timestamp": at}
    content = message.value() or b""
    try:
        text = content.decode().strip()
        known = json.loads(text)
    except ValueError:
        text, known = content.decode(errors="replace"), None
    if not isinstance(known, dict):
        return json.dumps({UNREADABLE: text, **own})
    inner = " ".join(text[1:-1].splitlines())  # as it is: numbers keep their digits
    return f"{{{inner}{',' if known else ''} {json.dumps(own)[1:]}"


def properties(file: str) -> dict[str, str]:
    """The properties of a file such as Kafka's own clients read: ``name=value`` lines, and comments.

    Raises:
        OSError: it cannot be read.
    """
    if not file:
        return {}
    lines = [each.strip() for each in Path(file).read_text(encoding="utf-8").splitlines()]
    pairs = [each.partition("=") for each in lines if each and each[0] not in "#!"]
    return {name.strip(): value.strip() for name, _, value in pairs}
