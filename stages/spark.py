"""The Spark session, made in one place."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from stages.settings import SparkSettings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

OLDEST_JAVA = 17
REMEDY = (
    f"Install a Java runtime, version {OLDEST_JAVA} or later (Debian, Ubuntu: apt-get install openjdk-17-jre-headless; "
    "macOS: brew install openjdk@17), or point JAVA_HOME at one."
)


def check_java() -> str | None:
    """None if a Java that Spark can use is found, else one line that says what is wrong and the remedy."""
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home, "bin", "java")) if home else shutil.which("java")
    if not java or not Path(java).exists():
        return f"Java is missing. {REMEDY}"
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)
    found = re.search(r'version "(?:1\.)?(\d+)', said.stderr + said.stdout)
    if not found or int(found.group(1)) < OLDEST_JAVA:
        return f"{java} is Java {found.group(1) if found else '?'}, and Spark needs {OLDEST_JAVA} or later. {REMEDY}"
    return None


@cache
def spark_session(settings: SparkSettings = SparkSettings()) -> SparkSession:  # noqa: B008 (frozen)
    """The process's one session: UTC, Arrow, quiet.

    Raises:
        RuntimeError: no usable Java; says the remedy.
    """
    from pyspark.sql import SparkSession

    if trouble := check_java():
        raise RuntimeError(trouble)
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    os.environ.setdefault("POLARS_MAX_THREADS", "1")  # Spark runs a task a core; Polars inside one needs no more
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    session = (
        SparkSession.builder.appName("narrows")
        .master(settings.master)
        .config("spark.driver.memory", settings.driver_memory)
        .config("spark.sql.shuffle.partitions", settings.shuffle_partitions)
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.execution.arrow.pyspark.enabled", True)
        .config("spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS")
        .config("spark.sql.legacy.parquet.nanosAsLong", True)
        .config("spark.sql.ansi.enabled", True)
        .config("spark.ui.enabled", False)
        .config("spark.ui.showConsoleProgress", False)
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.log.level", "ERROR")
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("ERROR")
    return session


if __name__ == "__main__":
    if sys.version_info < (3, 11):  # noqa: UP036 (this file also runs before anything is installed)
        sys.exit(f"Python {sys.version.split()[0]} is too old: Narrows needs 3.11 or later. Set PYTHON=python3.11 and run again.")
    sys.exit(check_java())
