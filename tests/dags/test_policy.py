"""What holds for every DAG of the project, and for the daily one."""

import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pendulum
import pytest

import stages
from narrows.cli.airflow.workflow import DAGS, ROOT, environment
from narrows.pipeline import Pipeline

PIPELINE = Pipeline.of(stages.PIPELINE)

DAG_IDS = {"daily.py": {"daily"}, "hourly.py": {"hourly"}, "codesign.py": {"codesign"}}
HEAVY = {
    *("faiss", "great_expectations", "lightgbm", "mlflow", "numpy", "pandas", "polars"),
    *("pyarrow", "pyspark", "sklearn", "torch"),
}


def test_every_file_makes_its_dags_and_no_other(bag):
    assert bag.import_errors == {}
    made = {file.name: set() for file in DAGS.glob("*.py")}
    for dag in bag.dags.values():
        made[Path(dag.fileloc).name].add(dag.dag_id)
    assert made == DAG_IDS


def test_dags_are_owned_documented_tagged_and_do_not_catch_up(bag):
    for dag in bag.dags.values():
        assert dag.doc_md
        assert dag.tags
        assert not dag.catchup
        assert dag.max_active_runs == 1
        assert dag.start_date < datetime(2020, 1, 1, tzinfo=UTC), "a start date is written down, not computed"


def test_tasks_retry_later_and_are_owned_documented_and_bounded(bag):
    for dag in bag.dags.values():
        for task in dag.tasks:
            waits = [task.retry_delay.total_seconds() * task.retry_exponential_backoff**n for n in range(task.retries)]
            assert waits[-1] > 16 * waits[0] > 0, f"{task.task_id}: each wait is longer than the last"
            assert task.max_retry_delay.total_seconds() <= 3600, task.task_id
            assert task.owner == "narrows", task.task_id
            assert task.execution_timeout, task.task_id
            assert task.doc_md, task.task_id


def test_daily_runs_the_rooms_of_the_pipeline_once_a_day(bag):
    daily = bag.dags["daily"]
    assert [task.task_id for task in daily.tasks] == list(PIPELINE.names)
    assert all(task.op_args[0] == task.task_id for task in daily.tasks)


def test_a_room_is_handed_the_version_of_every_table_above_it_that_it_reads(bag):
    for task in bag.dags["daily"].tasks:
        handed = task.op_args[4]
        assert set(handed) == PIPELINE.upstream(task.task_id)
        assert all(f"task_ids='{name}'" in text for name, text in handed.items())


def test_hourly_runs_the_same_rooms_and_listens_to_arrivals(bag):
    hourly, daily = bag.dags["hourly"], bag.dags["daily"]
    assert [task.task_id for task in hourly.tasks] == [task.task_id for task in daily.tasks]
    assert {task.task_id: set(task.upstream_task_ids) for task in hourly.tasks} == {
        task.task_id: set(task.upstream_task_ids) for task in daily.tasks
    }
    assert [asset.uri for asset in hourly.timetable.asset_condition.objects] == ["narrows://events/"]


def test_hourly_runs_five_minutes_past_every_hour(bag):
    from airflow.serialization.encoders import coerce_to_core_timetable
    from airflow.timetables.base import DataInterval, TimeRestriction

    timetable = coerce_to_core_timetable(bag.dags["hourly"].timetable)
    last = DataInterval.exact(pendulum.datetime(2018, 1, 5, 7, 5))
    restriction = TimeRestriction(None, None, True)
    info = timetable.next_dagrun_info(last_automated_data_interval=last, restriction=restriction)
    assert info.run_after == pendulum.datetime(2018, 1, 5, 8, 5)


@pytest.mark.parametrize(
    ("given", "logical", "hour"),
    [
        (None, datetime(2018, 1, 5, 7, 5, tzinfo=UTC), "2018-01-05T06"),
        (None, None, "2018-01-05T06"),
        ("2017-11-30T13", datetime(2018, 1, 5, 7, 5, tzinfo=UTC), "2017-11-30T13"),
        (None, datetime(2018, 1, 5, 0, 5, tzinfo=UTC), "2018-01-04T23"),
    ],
)
def test_an_hourly_run_is_as_of_the_hour_that_ended(bag, given, logical, hour):
    import jinja2
    from airflow.sdk.execution_time import macros

    class Run:
        logical_date, run_after, partition_key = logical, RUN, None

    text = bag.dags["hourly"].get_task("events").op_args[1]
    assert jinja2.Template(text).render(params=Params(given), dag_run=Run, macros=macros) == hour


@pytest.mark.parametrize(
    ("text", "grain"),
    [
        ('[source]\ngrain = "hour"', 1),
        ('[source]\ngrain = "30m"', 0.5),
        ("", 24),
        ("[source", 24),
        ('[source]\ngrain = "x"', 24),
    ],
)
def test_the_grain_is_read_of_the_file_alone(text, grain, tmp_path, monkeypatch):
    from narrows.cli.airflow import line

    (tmp_path / "narrows.toml").write_text(text)
    monkeypatch.setenv("NARROWS_FILE", str(tmp_path / "narrows.toml"))
    assert line.grain().total_seconds() == grain * 3600


def test_with_a_feed_the_line_begins_by_taking_it(tmp_path, monkeypatch):
    from airflow.sdk import DAG

    from narrows.cli.airflow import line

    (tmp_path / "narrows.toml").write_text('[stream]\nlanding = "new/"')
    monkeypatch.setenv("NARROWS_FILE", str(tmp_path / "narrows.toml"))
    with DAG("fed", schedule=None) as dag:
        line.rooms("2024-01-01", every="1d")
    assert [task.task_id for task in dag.tasks][:2] == ["stream", PIPELINE.names[0]]
    assert dag.get_task(PIPELINE.names[0]).upstream_task_ids == {"stream"}
    assert "stream" not in set().union(*(task.upstream_task_ids for task in dag.tasks[2:]))


@pytest.mark.parametrize(
    ("kind", "given", "asked", "first"),
    [
        ("scheduled", None, False, True),
        ("asset_triggered", None, False, True),
        ("manual", None, False, True),
        ("manual", "2017-11-30", False, False),
        ("manual", "2017-11-30", True, True),
        ("backfill", None, False, False),
    ],
)
@pytest.mark.parametrize(("name", "every"), [("daily", "1d"), ("hourly", "1h")])
def test_by_the_clock_the_first_task_makes_what_was_missed(bag, name, every, kind, given, asked, first):
    import jinja2

    class Run:
        run_type = kind

    texts = [task.op_args[5] for task in bag.dags[name].tasks]
    made = [jinja2.Template(text).render(params=Params(given, asked), dag_run=Run) for text in texts]
    assert made == [every if first else "", *[""] * (len(texts) - 1)]


class Params:
    """The parameters of a run, by attribute as templates read them."""

    def __init__(self, asof: str | None, catch_up: bool = False) -> None:
        self.asof, self.catch_up = asof, catch_up


def all_above(edges: dict[str, set[str]], name: str) -> set[str]:
    """What must have run before, directly or not."""
    return edges[name].union(*(all_above(edges, above) for above in edges[name]))


def test_a_room_waits_for_exactly_the_tables_above_it_that_it_reads(bag):
    drawn = {task.task_id: set(task.upstream_task_ids) for task in bag.dags["daily"].tasks}
    for at, name in enumerate(PIPELINE.names):
        above = {PIPELINE.makers[table] for table in PIPELINE.inputs(name)} & set(PIPELINE.names[:at])
        assert above <= all_above(drawn, name)
        assert drawn[name] <= above


def test_the_graph_has_no_edge_that_follows_from_others(bag):
    drawn = {task.task_id: set(task.upstream_task_ids) for task in bag.dags["daily"].tasks}
    assert drawn["rank"] == {"prerank"}
    assert drawn["evaluation"] == {"recommendations"}
    for name, above in drawn.items():
        for one in above:
            assert all(one not in all_above(drawn, other) for other in above - {one}), (name, one)


RUN = datetime(2018, 1, 5, 7, tzinfo=UTC)


@pytest.mark.parametrize(
    ("asof", "key", "logical", "day"),
    [
        ("2017-11-30", None, None, "2017-11-30"),
        ("2017-11-30", "2017-10-31", None, "2017-11-30"),
        (None, "2017-10-31", RUN, "2017-10-31"),
        (None, None, datetime(2017, 12, 1, tzinfo=UTC), "2017-11-30"),
        (None, None, None, "2018-01-04"),
        ("", None, None, "2018-01-04"),
    ],
)
def test_asof_is_the_parameter_or_the_partition_key_or_the_day_before_the_run(bag, asof, key, logical, day):
    import jinja2
    from airflow.sdk.execution_time.macros import ds_add

    class Run:
        logical_date, run_after, partition_key = logical, RUN, key

    task = bag.dags["daily"].get_task("events")
    jinja = task.get_template_env()
    assert isinstance(jinja, jinja2.Environment)
    macros = type("Macros", (), {"ds_add": staticmethod(ds_add)})
    known = {"params": {"asof": asof}, "dag_run": Run, "macros": macros}
    assert jinja.from_string(task.op_args[1]).render(known) == day


def test_a_run_by_the_clock_is_as_of_the_day_before_and_a_backfill_of_each_day_of_its_range(bag):
    from airflow.serialization.encoders import coerce_to_core_timetable
    from airflow.timetables.base import DagRunInfo, TimeRestriction

    timetable = coerce_to_core_timetable(bag.dags["daily"].timetable)
    midnight = pendulum.datetime(2018, 1, 5)
    last = DagRunInfo(run_after=midnight.subtract(days=1), data_interval=None, partition_date=None, partition_key=None)
    info = timetable.next_dagrun_info_v2(last_dagrun_info=last, restriction=TimeRestriction(None, None, True))
    assert (info.run_after, info.partition_key) == (midnight, "2018-01-04")
    backfill = timetable.iter_partition_dagrun_infos(earliest=midnight, latest=midnight.add(days=1))
    assert [info.partition_key for info in backfill] == ["2018-01-05", "2018-01-06"]


@pytest.mark.parametrize(
    ("value", "good"),
    [
        *((None, True), ("", True), ("2017-11-30", True), ("2017-11-30T13", True)),
        *(("30.11.2017", False), ("$(id)", False), (20171130, False)),
    ],
)
def test_asof_is_a_date_or_empty(bag, value, good):
    import jsonschema

    schema = bag.dags["daily"].params.get_param("asof").schema
    assert jsonschema.Draft7Validator(schema).is_valid(value) == good


def test_the_form_demands_nothing(bag):
    params = bag.dags["daily"].params
    assert params.validate() == {"asof": None, "force": False, "catch_up": False}
    assert "null" in params.get_param("asof").schema["type"]


def test_parsing_again_makes_no_new_version(tmp_path):
    from airflow.utils.dag_version_inflation_checker import check_dag_file_stability

    moving = tmp_path / "moving.py"
    text = (DAGS / "daily.py").read_text()
    moving.write_text(text.replace("datetime(2017, 1, 1, tzinfo=UTC)", "datetime.now(UTC)"))

    def problem(file):
        return check_dag_file_stability(str(file)).get_error_format_dict(str(file), str(file.parent))

    assert problem(moving), "the check finds what it should"
    assert [problem(file) for file in DAGS.glob("*.py")] == [None] * len(DAG_IDS)


def test_dag_files_are_short_and_free_of_names_that_airflow_dropped():
    for file in DAGS.glob("*.py"):
        assert len(file.read_text().splitlines()) < 80
    ruff = [sys.executable, "-m", "ruff", "check", "--select", "AIR"]
    assert subprocess.run([*ruff, DAGS, ROOT / "stages"]).returncode == 0


def test_dag_files_import_nothing_heavy(tmp_path):
    """Airflow imports a DAG file in every task and every few seconds, so it loads only light modules."""
    code = (
        "import sys, json, runpy, airflow.sdk, airflow.providers.standard.decorators.python\n"
        "from airflow.sdk import DAG, Param, task\n"
        "before = set(sys.modules)\n"
        f"for file in {[str(file) for file in DAGS.glob('*.py')]}: runpy.run_path(file)\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in set(sys.modules) - before})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(tmp_path), capture_output=True, text=True, check=True
    )
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert "stages" in loaded
    assert not loaded & HEAVY


def test_no_dag_reaches_for_a_clock_or_the_outside_at_parse():
    for file in DAGS.glob("*.py"):
        text = file.read_text()
        assert not re.search(r"now\(|today\(|Variable|Connection|os\.environ|requests|urllib", text)
