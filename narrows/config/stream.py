"""The section ``[stream]`` of ``narrows.toml``: the live feed that is taken into the source's folder."""

from __future__ import annotations

from datetime import timedelta

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from narrows import durations


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid", hide_input_in_errors=True))
class StreamSettings:
    """A live feed, from which ``narrows stream`` fills the folder that ``[source] events`` names; by default none."""

    landing: str = Field(default="", pattern="^[^:]*$", description="a folder")
    """A folder in which files arrive: Parquet, CSV, TSV or JSON lines. Names that begin with ``.`` or ``_`` are passed over."""
    kafka: str = Field(
        default="", pattern=r"^$|^[^\s,/]+:[0-9]+(,[^\s,/]+:[0-9]+)*$", description="host:port, several with commas",
        examples=["kafka-1:9092,kafka-2:9092"],
    )  # fmt: skip
    """Brokers of Kafka, instead of ``landing``. Needs the extra ``kafka``."""
    topic: str = Field(default="", pattern="^[A-Za-z0-9._-]*$", description="a topic's name")
    """The topic whose messages are events, each a JSON object."""
    kafka_properties: str = ""
    """A file of librdkafka's properties, ``name=value`` a line: ``security.protocol``, ``sasl.username`` and the like."""
    max_files: int = Field(default=1000, ge=1)
    """Files that one micro-batch takes at most."""
    max_rows: int = Field(default=1_000_000, ge=1)
    """Messages that one micro-batch takes at most, the partitions of the topic together."""
    lateness: str = Field(
        default="10m", pattern=f"^{durations.PATTERN}$", description="a duration", examples=["10m", "2h"]
    )
    """The watermark: a period has ended for ``narrows stream --tables`` when a row has arrived so long after its end.
    Later rows are not lost: they are in the partition of their arrival."""

    def __post_init__(self) -> None:
        if self.landing and self.kafka:
            raise ValueError(f'landing = "{self.landing}" and kafka are two feeds: keep one.')
        if bool(self.kafka) != bool(self.topic):
            raise ValueError(f'topic = "{self.topic}": kafka and topic are given together.')

    @property
    def lateness_length(self) -> timedelta:
        return durations.parse(self.lateness)
