"""The Spark session, made in one place."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

from narrows.config.sections import EngineSettings, SparkSettings
from narrows.engine.cluster import LOOPBACK, addresses, is_local, of_executors, require_master
from narrows.engine.java import require_java
from narrows.engine.memory import give_back, heap, task_bytes
from narrows.source.tabular import reading
from narrows.store.table import part_name
from narrows.store.write import drop_unfinished, unfinished

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter
    from pyspark import SparkConf
    from pyspark.sql import DataFrame, SparkSession

MOST_PARTITIONS = 64
"""After a shuffle, before Spark joins small ones to one for each core."""
PARTITION_BYTES = 32 << 20
"""Of a shuffle, up to which small partitions are joined: a task has it in memory, several times larger."""
TASK = "spark.narrows.task_bytes"
"""The session's setting of how many bytes of the files of events a task may have in memory."""
CLASSES = Path(sys.prefix) / "spark-classes.jsa"
"""Spark's classes as a JVM has them loaded: with it a session starts in half the time. `make setup` makes it."""
ROW_GROUP = 16_384
"""Rows of a file that a reader has in memory at once, lists and all."""
QUIET = "-Xlog:disable -Xlog:all=error:stderr"
"""Of the JVM's own log only errors."""
CHATTER = (
    "WARNING: Using incubator modules: jdk.incubator.vector",
    "Using Spark's default log4j profile",
    "Setting default log level to",
    "To adjust logging level use",
    "WARN NativeCodeLoader",
    "Setting Spark log level to",
)
"""What every start of Spark prints and no user can use."""


@cache
def spark_session(
    settings: SparkSettings = SparkSettings(),  # noqa: B008 (frozen)
    engine: EngineSettings = EngineSettings(),  # noqa: B008
) -> SparkSession:
    """The process's one session: UTC, Arrow, quiet.

    Raises:
        JavaError: no usable Java.
        ClusterError: the master of a cluster does not answer.
    """
    from pyspark import SparkConf
    from pyspark.sql import SparkSession

    require_java()
    require_master(settings.master)
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    if is_local(settings.master):
        os.environ.setdefault("SPARK_LOCAL_IP", LOOPBACK)
    options = settings.java_options
    if CLASSES.exists():  # a JVM that it does not fit (another Java, another Spark) says nothing and does without
        options += f" -XX:SharedArchiveFile={CLASSES} {QUIET}"
    chosen = {
        "spark.app.name": "narrows",
        "spark.master": settings.master,
        "spark.driver.memory": heap(settings, engine),
        "spark.sql.shuffle.partitions": settings.shuffle_partitions,
        "spark.sql.adaptive.coalescePartitions.initialPartitionNum": max(MOST_PARTITIONS, settings.shuffle_partitions),
        "spark.sql.adaptive.advisoryPartitionSizeInBytes": PARTITION_BYTES,
        TASK: task_bytes(engine),
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
        "spark.sql.legacy.parquet.nanosAsLong": "true",
        "spark.sql.ansi.enabled": "true",
        "spark.sql.caseSensitive": "true",
        "spark.sql.execution.arrow.maxRecordsPerBatch": 20_000,
        "spark.sql.files.openCostInBytes": 65_536,  # days are small files: many of them to a task
        "spark.sql.sources.parallelPartitionDiscovery.threshold": 10_000,  # listing days is no job
        "spark.driver.extraJavaOptions": options,
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.log.level": "ERROR",
        **addresses(settings),
        **of_executors(settings, options),
    }
    conf = SparkConf().setAll([(name, str(value)) for name, value in chosen.items()])
    _start_quietly(conf)
    session = SparkSession.builder.config(conf=conf).getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    return session


def end_session() -> None:
    """Stop the process's session and end its JVM and Python workers; `spark_session` starts others."""
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    session, gateway = SparkSession.getActiveSession(), SparkContext._gateway
    if session:
        session.stop()
    spark_session.cache_clear()
    if gateway and (process := getattr(gateway, "proc", None)):
        gateway.shutdown()
        SparkContext._gateway = SparkContext._jvm = None
        process.stdin.close()  # the JVM waits for this end
        process.wait()


def _start_quietly(conf: SparkConf) -> None:
    """Start the process's JVM, if it has none yet, without the lines that every start of Spark prints.

    All else that the JVM says goes to standard error as before.
    """
    from pyspark import SparkContext
    from pyspark.java_gateway import launch_gateway

    if SparkContext._gateway or "PYSPARK_GATEWAY_PORT" in os.environ:
        return
    gateway = launch_gateway(conf, {"stderr": subprocess.PIPE})
    SparkContext._gateway, SparkContext._jvm = gateway, gateway.jvm  # where Spark itself looks first
    Thread(target=_pass_on, args=(gateway.proc.stderr,), daemon=True).start()


def _pass_on(lines: Iterable[bytes]) -> None:
    for line in lines:
        text = line.decode(errors="replace")
        if not any(each in text for each in CHATTER):
            print(text, end="", file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Parts:
    """Rows that the Python tasks of Spark write themselves: a fraction of the work of the JVM's Parquet writer."""

    frame: DataFrame
    """What the tasks receive."""
    work: Callable[[Iterator[pa.RecordBatch], Path], None]
    """Called once in every task, also in one without rows, with its rows and the folder to write below."""

    def save(self, folder: Path) -> None:
        """Run the tasks; a task that is repeated writes the same files again."""
        work = self.work

        def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            work(batches, folder)
            give_back()  # the worker waits for its next task, maybe for minutes
            yield from ()

        folder.mkdir(parents=True, exist_ok=True)
        with reading():
            self.frame.mapInArrow(run, "done boolean").collect()
        drop_unfinished(folder)


@contextmanager
def part_writer(schema: pa.Schema, folder: Path, number: int | None = None) -> Iterator[ParquetWriter]:
    """A writer of a table's file of a number, by default of the running task's own file.

    The file has its name when it is whole: of a task that runs twice at once, or is repeated, one file stays.
    """
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    if number is None:
        from pyspark import TaskContext

        context = TaskContext.get()
        number = context.partitionId() if context else 0
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / part_name(number)
    # dictionaries pay for repeated text only
    is_text = {f.name: pa.types.is_string(getattr(f.type, "value_type", f.type)) for f in schema}
    text = [f.name + ".list.element" * pa.types.is_list(f.type) for f in schema if is_text[f.name]]
    draft = unfinished(path)
    with ParquetWriter(draft, schema, use_dictionary=text, compression="zstd", compression_level=1) as writer:
        yield writer
    draft.replace(path)


def write_part(table: pa.Table, folder: Path, number: int | None = None) -> None:
    """A table's file of a number, by default the running task's own, all of it."""
    with part_writer(table.schema, folder, number) as writer:
        writer.write_table(table, row_group_size=ROW_GROUP)


def keep_classes(path: Path = CLASSES) -> None:
    """Do a little of what the rooms do with Spark and let the JVM keep the classes that this took, as it ends."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F

    def same(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield from batches

    draft = path.with_suffix(".draft")  # a JVM that starts meanwhile must not read half a file
    path.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        default = SparkSettings()
        options = f"{default.java_options} -XX:ArchiveClassesAtExit={draft} {QUIET}"
        session = spark_session(replace(default, java_options=options))
        rows = session.range(1000).select(F.col("id").cast("string"), F.timestamp_seconds("id").alias("time"))
        rows = rows.withColumn("day", F.to_date("time")).withColumn("twin", F.xxhash64("id", "time") % 7)
        rows.write.partitionBy("day").parquet(f"{folder}/rows")
        rows = session.read.parquet(f"{folder}/rows").withColumn("raw", F.to_json(F.struct("id", "twin")))
        counts = rows.groupBy("twin").agg(F.count("*").alias("n"), F.max("time"), F.min(F.struct("id", "raw")))
        first = F.row_number().over(Window.partitionBy("twin").orderBy("time"))
        joined = rows.withColumn("first", first).join(F.broadcast(counts), "twin", "left").distinct()
        joined = joined.unionByName(joined.where(F.col("id").isin(["1", "2"])), allowMissingColumns=True)
        columns = joined.repartition(2, "day").sortWithinPartitions("time").select("id", "time", "n")
        columns.mapInArrow(same, columns.schema).toArrow()
        session.createDataFrame([("a", 1.0)], "name string, number double").collect()
        end_session()  # the JVM writes the file
    draft.replace(path)


if __name__ == "__main__":
    keep_classes()
