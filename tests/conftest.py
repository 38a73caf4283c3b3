"""What several tests share: one small Spark session, made where the product makes its own."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest

import stages.recall.channels  # noqa: F401 (registers the channels and their features)
from narrows.engine.garbage import GC_THRESHOLD
from narrows.engine.spark import spark_session
from narrows.settings import SparkSettings
from tests.fixtures import line  # noqa: F401 (a fixture)

gc.set_threshold(GC_THRESHOLD, 10, 10)  # as in the processes of rooms


@pytest.fixture(scope="session")
def spark() -> Iterator[Any]:
    """The one Spark session of the test run: two cores, little memory."""
    session = spark_session(SparkSettings(master="local[2]", driver_memory="1g", shuffle_partitions=2))
    yield session
    session.stop()
    spark_session.cache_clear()
