"""The streaming query: what arrived since the last time, micro-batch by micro-batch, and then it ends."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from narrows.settings import Settings, SettingsError
from narrows.source.delimited import CORRUPT, quoted
from narrows.source.errors import SourceAway, SourceBroken, SourceError
from narrows.source.files import Source
from narrows.source.tabular import read
from narrows.stream import kafka
from narrows.stream.pieces import HIDDEN, Measured, Pieces, Stamp, stamp

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

LOG = logging.getLogger(__name__)
ALWAYS = "36500d"
"""Spark would pass over files that are a week older than the newest one: here no file is too old."""
LISTED = "path string, modificationTime timestamp, length bigint, content binary"
"""Of Spark's source of whole files; their content is never read by it."""


def take(session: SparkSession, settings: Settings, source: Source, measured: Measured) -> Pieces:
    """Take all that has arrived into pieces, each row once whatever was killed before.

    Args:
        session: of Spark.
        settings: with a feed in ``[stream]``.
        source: of the settings.
        measured: see `narrows.stream.pieces.Measured`.

    Raises:
        SettingsError: there is no feed, or no folder to fill.
        SourceAway: a file is still being written, the brokers do not answer, or another process takes the same feed.
        SourceError: files or messages that cannot be taken, or that are gone.
    """
    from filelock import FileLock, Timeout
    from pyspark.errors import StreamingQueryException

    pieces, failed = opened(settings, source, measured), list[Exception]()
    pieces.place.mkdir(parents=True, exist_ok=True)

    def each(batch: DataFrame, number: int) -> None:
        try:
            _take(session, pieces, settings, batch, f"{number:06d}")
        except Exception as error:  # Spark hands on its text alone
            failed.append(error)
            raise

    try:
        with FileLock(pieces.place / "LOCK", blocking=False):
            _again(session, pieces)
            _run(session, settings, pieces.checkpoint, each)
    except Timeout:
        raise SourceAway(f"[stream] another process takes this feed: it holds {pieces.place}.") from None
    except (StreamingQueryException, SourceBroken) as error:
        first = failed[0] if failed else error
        told = _worded(first, pieces) or first
        if told is error:
            raise
        raise told from error
    return pieces


def _run(session: SparkSession, settings: Settings, checkpoint: Path, each: Callable[[DataFrame, int], None]) -> None:
    """Run the query to its end."""
    writer = _feed(session, settings).writeStream.foreachBatch(each).trigger(availableNow=True)
    session.sparkContext.setLogLevel("OFF")  # a query that fails is told in a line, not by Spark's own page
    try:
        query = writer.option("checkpointLocation", str(checkpoint)).start()
        try:
            query.awaitTermination()
        finally:
            query.stop()
    finally:
        session.sparkContext.setLogLevel("ERROR")


def opened(settings: Settings, source: Source, measured: Measured) -> Pieces:
    """Where the pieces of the feed lie; nothing is read yet.

    Raises:
        SettingsError: there is no feed, or no folder to fill.
    """
    stream, events = settings.stream, settings.source.events
    if not (stream.landing or stream.kafka):
        raise SettingsError("[stream] names no feed. Give landing, a folder that files arrive in, or kafka and topic.")
    folder = settings.base / events
    if "://" in events or re.search(r"[*?\[]", events) or folder.is_file() or folder.suffix:
        raise SettingsError(
            '[source] events must be a folder of this machine where [stream] names a feed: events = "events/".'
        )
    landing = (settings.base / stream.landing).resolve()
    if stream.landing and (landing.is_relative_to(folder.resolve()) or folder.resolve().is_relative_to(landing)):
        raise SettingsError("[stream] landing and [source] events must not lie in each other.")
    if stream.kafka and not find_spec("confluent_kafka"):
        raise SettingsError("[stream] kafka needs a Python package. Run: pip install -e '.[kafka]' -c constraints.txt")
    feed = hashlib.sha256(json.dumps([stream.landing, stream.topic]).encode()).hexdigest()[:8]
    return Pieces(source, folder, folder / HIDDEN / feed, measured)


def _feed(session: SparkSession, settings: Settings) -> DataFrame:
    """The feed as a streaming frame: the paths of files, or messages."""
    stream = settings.stream
    if stream.landing:
        landing = settings.base / stream.landing
        if not landing.is_dir():
            raise SourceAway(f"[stream] there is no folder {landing}.")
        options: dict[str, str | int] = {
            "maxFilesPerTrigger": stream.max_files,
            "maxFileAge": ALWAYS,
            "recursiveFileLookup": True,
        }
        return (
            session.readStream.format("binaryFile").schema(LISTED).options(**options).load(str(landing)).select("path")
        )
    session.dataSource.register(kafka.KafkaSource)
    file = str(settings.base / stream.kafka_properties) if stream.kafka_properties else ""
    if file and not Path(file).is_file():
        raise SettingsError(f"[stream] kafka_properties: there is no file {file}.")
    options = {"servers": stream.kafka, "topic": stream.topic, "properties": file, "max_rows": stream.max_rows}
    return session.readStream.format(kafka.FORMAT).options(**options).load()


def _take(session: SparkSession, pieces: Pieces, settings: Settings, batch: DataFrame, name: str) -> None:
    """Write a micro-batch as a piece."""
    if settings.stream.landing:
        files = sorted(Path(re.sub("^file:/+", "/", row["path"])) for row in batch.collect())
        for gone in (file for file in files if not file.exists()):
            LOG.warning("!! stream: %s was gone before it was read", gone)
        if files := [file for file in files if file.exists()]:
            stamps = {str(file): stamp(file) for file in files}  # first: what comes while it is read is another content
            pieces.add(name, read(session, files), files[0], stamps)
        return
    lines = pieces.place / "lines"
    batch.coalesce(1).write.mode("overwrite").text(str(lines))
    part = next(lines.glob("part-*"))
    if part.stat().st_size:
        part = part.replace(lines / "messages.jsonl")
        pieces.add(name, _texts(read(session, [part])), part)


def _texts(frame: DataFrame) -> DataFrame:
    """Messages with every column as text: a topic cannot be mended, so no message may be refused for a type."""
    from pyspark.sql import functions as F
    from pyspark.sql.types import StringType

    columns = []
    for each in frame.schema:
        column = F.col(quoted(each.name))
        column = column if isinstance(each.dataType, StringType) else F.to_json(column)
        columns.append(column.alias(CORRUPT if each.name == kafka.UNREADABLE else each.name))
    if kafka.UNREADABLE not in frame.columns:  # a column that came later would make the source be read as a whole
        columns.append(F.lit(None).cast("string").alias(CORRUPT))
    return frame.select(*columns)


def _again(session: SparkSession, pieces: Pieces) -> None:
    """Read files again that have changed since they were taken: what of them was there before counts as duplicate."""

    def differs(file: Path, was: Stamp) -> bool:
        return file.exists() and stamp(file) != tuple(was)

    files = sorted(Path(file) for file, was in pieces.taken().files.items() if differs(Path(file), was))
    if files:
        LOG.info("stream: %s changed since it was taken, and is read again", ", ".join(map(str, files)))
        stamps = {str(file): stamp(file) for file in files}
        digest = hashlib.sha256(json.dumps(stamps).encode()).hexdigest()[:8]
        pieces.add(f"again-{digest}", read(session, files), files[0])
        pieces.note(stamps)  # last: after a kill before this they are found changed, and their piece is there


def _worded(error: Exception, pieces: Pieces) -> Exception | None:
    """What is told of a failure, with what to do; None = it is no failure that is known here."""
    if isinstance(error, SourceBroken):
        return SourceAway(f"{error} If it is still being written, the next try reads it.")
    if isinstance(error, SourceError):
        return error
    text = str(error)
    if said := re.search(r"\[stream\] [^\n]*", text):
        if said[0].startswith(kafka.AWAY):
            return SourceAway(f"{said[0]}.")
        return SourceError(
            f"{said[0]}. Remove {pieces.place} to begin with the oldest message: what is taken twice counts as duplicate."
        )
    if "Python worker failed to connect back" in text:
        return SourceAway("[stream] a process of Spark did not start in time: the machine is busy.")
    return None
