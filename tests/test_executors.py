"""The fused pass as a task of Spark's executors: the parts of a local pass, whatever is repeated; and what a cluster must have."""

from __future__ import annotations

import pickle
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from narrows.columns import USER
from narrows.config.sections import EngineSettings, SparkSettings
from narrows.engine import cluster
from narrows.engine.cluster import ClusterError
from narrows.engine.spark import Parts, part_writer, write_part
from narrows.run import executors, fused
from narrows.run.narrowing import spans, user_shards
from narrows.run.requests import audience
from narrows.source.errors import SourceError
from narrows.source.tabular import read, reading
from narrows.store.table import REQUESTS, Table
from narrows.store.write import write_file
from tests.fixtures import Line

FIRST = 3
"""The number of the first part."""


def given(line: Line, folder: Path) -> tuple[fused.Pass, Table, pa.compute.Expression]:
    """The pass over everybody who is not in the flow sample of a finished run."""
    runner, asof = line.runner, line.asof
    rooms = [runner.room(name) for name in runner.pipeline.narrowing]
    models = [(room.name, runner.model_table(room.name, asof)) for room in rooms]
    requests = line.table(runner.pipeline.narrowing[-1]).side(REQUESTS).arrow()
    folder.mkdir()
    work = fused.Pass(runner.settings, models, line.table("item_profiles"), requests, asof, folder)
    users = line.table("user_profiles")
    return work, users, ~pa.compute.field(USER).isin(requests[USER]) & audience(runner, users)


def numbers(*numbers: int) -> Iterator[pa.RecordBatch]:
    """What Spark gives a task."""
    yield pa.RecordBatch.from_pydict({"id": list(numbers)})


def parts(folder: Path) -> dict[str, pa.Table]:
    assert not [file for file in folder.iterdir() if not file.name.startswith("part-")]
    return {file.name: pq.read_table(file) for file in sorted(folder.iterdir())}


@pytest.fixture
def local(sampled_line, tmp_path) -> dict[str, pa.Table]:
    """The parts of the local pass."""
    work, users, who = given(sampled_line, tmp_path / "local")
    fused.run(work, user_shards(users, 16, who), FIRST, 1)
    return parts(work.folder)


def test_tasks_in_any_order_and_twice_write_the_parts_of_the_local_pass(sampled_line, tmp_path, local):
    work, users, who = given(sampled_line, tmp_path / "spark")
    task = executors.task_of(work, users, who, 16, FIRST)
    shards = len(task.spans)
    assert shards == len(local) > 2
    counted = [batch for number in reversed(range(shards)) for batch in task(numbers(number))]
    again = list(pickle.loads(pickle.dumps(task))(numbers(*range(shards))))  # a retry, or a second copy
    assert parts(work.folder) == local
    total = [sum(batch["users"][0].as_py() for batch in batches) for batches in (counted, again)]
    assert total[0] == total[1] == users.count(who)


def test_a_process_opens_the_models_of_a_pass_once(sampled_line, tmp_path, monkeypatch):
    work, users, who = given(sampled_line, tmp_path / "spark")
    task = executors.task_of(work, users, who, 16, FIRST)
    opened = []
    open_pass = fused.open_pass
    monkeypatch.setattr(fused, "open_pass", lambda work: opened.append(work) or open_pass(work))
    executors._OPENED.clear()
    for number in (0, 1):
        list(task(numbers(number)))
        list(pickle.loads(pickle.dumps(task))(numbers(number)))
    assert len(opened) == 1
    other = executors.task_of(given(sampled_line, tmp_path / "other")[0], users, who, 16, FIRST)
    list(other(numbers(0)))
    assert len(opened) == 2
    assert len(executors._OPENED) == 1


def test_through_spark_the_parts_and_the_counts_are_those_of_the_local_pass(spark, sampled_line, tmp_path, local):
    work, users, who = given(sampled_line, tmp_path / "spark")
    (work.folder / ".unfinished-part-00004.parquet-0").touch()  # what a task that was ended leaves
    counts = executors.run(spark, work, users, who, 16, FIRST)
    assert parts(work.folder) == local
    assert counts["users"] == users.count(who)
    assert counts["kept"] == sum(part.num_rows for part in local.values())


@pytest.mark.parametrize("size", [1, 7, 16, 500])
def test_spans_give_the_shards_that_are_cut_locally(sampled_line, size):
    users = sampled_line.table("user_profiles")
    for who in (None, pa.compute.field(USER) > "h4", pa.compute.field(USER) == "nobody"):
        shards = list(user_shards(users, size, who))
        found = spans(users, size, who)
        assert len(found) == len(shards)
        for (start, stop), shard in zip(found, shards, strict=True):
            assert users.rows_between(start, stop, who).equals(shard)


def test_only_the_row_groups_of_a_span_are_read(tmp_path):
    (tmp_path / "data").mkdir()
    for number in range(2):
        rows = pa.table({"user_id": [f"{number} {n:03}" for n in range(100)]})
        pq.write_table(rows, tmp_path / "data" / f"part-{number:05d}.parquet", row_group_size=30)
    table = Table("users", None, "v", tmp_path, {})  # type: ignore[arg-type]
    whole = table.arrow()
    for start, stop in ((0, 200), (0, 0), (29, 31), (95, 105), (130, 131), (199, 300)):
        assert table.rows_between(start, stop).equals(whole.slice(start, stop - start))


def test_a_file_has_its_name_when_it_is_whole(tmp_path):
    rows = pa.table({"a": [1, 2]})
    with part_writer(rows.schema, tmp_path) as one, part_writer(rows.schema, tmp_path) as other:
        one.write_table(rows)
        other.write_table(rows)
        assert not list(tmp_path.glob("part-*"))
    with pytest.raises(ValueError, match="schema"), part_writer(rows.schema, tmp_path) as broken:
        broken.write_table(pa.table({"b": ["a"]}))
    write_file(rows, tmp_path / "part-00007.parquet")
    write_file(rows, tmp_path / "part-00007.parquet")
    assert sorted(file.name for file in tmp_path.glob("[!.]*")) == ["part-00000.parquet", "part-00007.parquet"]
    assert pq.read_table(tmp_path / "part-00000.parquet").equals(rows)


def test_what_ended_tasks_leave_is_removed_when_all_are_done(spark, tmp_path):
    def work(batches: Iterator[pa.RecordBatch], folder: Path) -> None:
        (folder / ".unfinished-part-00009.parquet-0").touch()
        write_part(pa.Table.from_batches(list(batches)), folder)

    Parts(spark.range(3).coalesce(1), work).save(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["part-00000.parquet"]


def test_the_driver_is_on_loopback_for_a_local_master_alone():
    for master in ("local", "local[*]", "local[2]"):
        assert set(cluster.addresses(SparkSettings(master=master)).values()) == {"127.0.0.1"}
    assert not cluster.addresses(SparkSettings(master="spark://host:7077"))
    set_ = SparkSettings(master="spark://host:7077", driver_host="driver", driver_bind_address="0.0.0.0")
    assert cluster.addresses(set_) == {"spark.driver.host": "driver", "spark.driver.bindAddress": "0.0.0.0"}


def test_executors_get_memory_and_cores_on_a_cluster_alone():
    given = SparkSettings(master="spark://host:7077", executor_memory="3g", executor_cores=2)
    chosen = cluster.of_executors(given, "-Xa")
    assert (chosen["spark.executor.memory"], chosen["spark.executor.cores"]) == ("3g", "2")
    assert "spark.executor.memory" not in cluster.of_executors(SparkSettings(), "-Xa")
    assert chosen["spark.executorEnv.OMP_NUM_THREADS"] == "1"
    assert EngineSettings().narrow == "local"


def test_a_master_that_does_not_answer_is_named_at_once():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(ClusterError, match=f"spark://127.0.0.1:{port}.*nothing answers"):
            cluster.require_master(f"spark://127.0.0.1:{port}")
        taken.listen()
        cluster.require_master(f"spark://127.0.0.1:1,127.0.0.1:{port}")
    cluster.require_master("local[2]")


def test_executors_are_asked_for_the_state_folder_and_the_code(spark, tmp_path, monkeypatch):
    cluster.require_shared(spark, tmp_path / "state")
    assert not list((tmp_path / "state").iterdir())
    monkeypatch.setattr(cluster, "PACKAGES", ("narrows",))  # of this process: the executors import the module anew
    cluster.code_digest.cache_clear()
    with pytest.raises(ClusterError, match="other code"):
        cluster.require_shared(spark, tmp_path / "state")
    monkeypatch.undo()
    cluster.code_digest.cache_clear()
    away = cluster._asked(str(tmp_path / "elsewhere" / "mark"))
    monkeypatch.setattr(cluster, "_asked", lambda mark: away)
    with pytest.raises(ClusterError, match=r"does not see the state folder.*\[store\] root"):
        cluster.require_shared(spark, tmp_path / "state")


def test_executors_without_our_python_are_told_where_it_is(spark, tmp_path, monkeypatch):
    def lacking(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        raise ModuleNotFoundError("No module named 'narrows'")

    monkeypatch.setattr(cluster, "_asked", lambda mark: lacking)
    with pytest.raises(ClusterError) as said:
        cluster.require_shared(spark, tmp_path / "state")
    assert "No module named 'narrows'" in str(said.value)
    assert sys.prefix in str(said.value)


def test_a_source_file_that_a_worker_does_not_see_is_named(spark, tmp_path):
    file = tmp_path / "events.parquet"
    write_file(pa.table({"a": [1]}), file)
    rows = read(spark, [file])
    file.unlink()
    with pytest.raises(SourceError, match=r"events\.parquet is not there.*every worker"), reading():
        rows.collect()
