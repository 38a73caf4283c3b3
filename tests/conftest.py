"""What several tests share: one small Spark session, made where the product makes its own."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from typing import Any

import pytest

import stages.recall.channels  # noqa: F401 (registers the channels and their features)
from narrows.engine.garbage import GC_THRESHOLD
from narrows.engine.spark import spark_session
from narrows.settings import SparkSettings
from tests.fixtures import line, sampled_line  # noqa: F401 (fixtures)
from tests.object_stores import address, not_a_child, s3  # noqa: F401 (fixtures)

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two test processes share two cores; also for what tests start

LONG = ("test_cascade.py", "test_kinds_line.py", "test_hours.py", "test_own_rooms.py", "test_ml100k.py")
"""Files that take long begin first, so that no process waits for the other at the end."""

gc.set_threshold(GC_THRESHOLD, 10, 10)  # as in the processes of rooms


@pytest.fixture(scope="session")
def spark() -> Iterator[Any]:
    """The one Spark session of the test run: two cores, little memory."""
    session = spark_session(SparkSettings(master="local[2]", driver_memory="1g", shuffle_partitions=2))
    yield session
    session.stop()
    spark_session.cache_clear()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in LONG)
