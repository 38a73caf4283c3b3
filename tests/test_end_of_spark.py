"""Spark's memory is free again once no room asks for it."""

from __future__ import annotations

import subprocess
import sys

from narrows.run.runner import Runner
from narrows.settings import load_settings

SCRIPT = """
import psutil
from narrows.engine.spark import end_session, spark_session
java = lambda: [child for child in psutil.Process().children(recursive=True) if "java" in child.name()]
assert spark_session().range(3).count() == 3
assert java()
end_session()
assert not psutil.Process().children(recursive=True)
assert spark_session().range(2).count() == 2
"""


def test_a_session_ends_with_its_jvm_and_another_can_start():
    subprocess.run([sys.executable, "-c", SCRIPT], check=True, timeout=300)


def test_after_the_last_room_that_asks_for_spark_none_does():
    runner = Runner(load_settings())
    asking = [name for name in runner.pipeline.names if runner.asks_spark(name)]
    assert asking == ["events", "user_profiles", "item_profiles", "examples"]
    runner.end_session()  # nothing was started: nothing to end
