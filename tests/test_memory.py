"""How much memory a run may take, what follows from it, and what is said when it runs out."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from narrows.cli import running
from narrows.config.sections import EngineSettings, SparkSettings
from narrows.engine import memory
from narrows.settings import load_settings


def test_a_size_is_bytes():
    assert [memory.size(text) for text in ("800m", "12g", "1T")] == [800 << 20, 12 << 30, 1 << 40]


def test_the_budget_is_what_is_set_or_a_share_of_the_machine():
    assert memory.budget(EngineSettings(memory="12g")) == 12 << 30
    assert memory.budget(EngineSettings()) == int(memory.SHARE * memory.machine())


@pytest.mark.parametrize(
    ("given", "heap", "shard"), [("24g", "1536m", 2000), ("12g", "800m", 2000), ("3g", "800m", 1300), ("500m", "166m", 200)]
)  # fmt: skip
def test_heap_and_shards_follow_from_the_budget(given, heap, shard):
    engine = EngineSettings(memory=given)
    assert memory.heap(SparkSettings(), engine) == heap
    assert memory.heap(SparkSettings(driver_memory="3g"), engine) == "3g"
    assert memory.shard_users(engine) == shard


def test_processes_fit_the_memory_and_the_cores(monkeypatch):
    monkeypatch.setattr(memory, "cores", lambda: 16)
    shard = memory.SHARD_USERS
    few, many = (memory.workers(EngineSettings(memory=each), shard) for each in ("8g", "64g"))
    assert 1 <= few < many <= 16
    need = few * (memory.WORKER_BYTES + shard * memory.SHARD_BYTES)
    assert need < 8 << 30
    assert memory.workers(EngineSettings(memory="500m"), shard) == 1


def test_a_task_of_spark_has_its_part_of_the_budget(monkeypatch):
    monkeypatch.setattr(memory, "cores", lambda: 2)
    sizes = [memory.task_bytes(EngineSettings(memory=each)) for each in ("2g", "4g", "64g")]
    assert sizes == [(2 << 30) // 200, (4 << 30) // 200, memory.TASK_BYTES]


def test_what_is_set_wins(tmp_path):
    (tmp_path / "narrows.toml").write_text('[pipeline]\nshard_users = 70\n[engine]\nmemory = "3g"\n')
    assert load_settings(tmp_path / "narrows.toml", {}).shard_users == 70
    assert load_settings(tmp_path / "narrows.toml", {"NARROWS_PIPELINE__SHARD_USERS": "0"}).shard_users == 1300


def caused(by: Exception) -> Exception:
    error = RuntimeError("the room failed")
    error.__cause__ = by
    return error


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("a process that narrows was killed"),
        RuntimeError("An error occurred while calling o57.collect. : java.lang.OutOfMemoryError: Java heap space"),
        caused(MemoryError()),
    ],
)
def test_a_room_that_runs_out_of_memory_says_so_with_the_remedy(error):
    class Runner:
        pipeline = SimpleNamespace(names=("rank", "evaluation"))

        def run(self, room: str, asof: str) -> None:
            raise error

    with pytest.raises(memory.OutOfMemory, match=r"rank as of 2020-01-01 ran out of memory.*\[engine\] memory") as said:
        running.make(Runner(), "rank", "2020-01-01")  # type: ignore[arg-type]
    assert "\n" not in str(said.value)


def test_another_error_keeps_its_traceback():
    class Runner:
        pipeline = SimpleNamespace(names=("rank", "evaluation"))

        def run(self, room: str, asof: str) -> None:
            raise ValueError("no row")

    with pytest.raises(ValueError, match="no row"):
        running.make(Runner(), "rank", "2020-01-01")  # type: ignore[arg-type]
