"""Runs under real services (`narrows up`): by the clock, and through kills, a restart and a second scheduler. Slow."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import psutil
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from services import AIRFLOW, Services, go_on, kill, until

from narrows.cli.airflow.workflow import WorkflowError
from narrows.cli.services import postgres
from tests import world

pytest.importorskip("psycopg")
pytest.importorskip("supervisor")
pytestmark = pytest.mark.slow

PORT = 28080


@pytest.fixture(scope="module")
def services(tmp_path_factory):
    """Of a small world whose last Monday was yesterday, so that the clock's as-of is the one to make."""
    try:
        postgres.programs()
    except WorkflowError:
        pytest.skip("no PostgreSQL on this machine")
    folder = tmp_path_factory.mktemp("services")
    table = world.events()
    shift = pa.scalar(yesterday() - pc.max(table["at"]).as_py().date())
    world.write(folder, table=table.set_column(table.schema.get_field_index("at"), "at", pc.add(table["at"], shift)))
    (folder / "airflow.env").write_text(AIRFLOW)
    found = Services(folder, PORT)
    try:
        found.up()
        yield found
    finally:
        found.down()


def yesterday():
    return datetime.now(UTC).date() - timedelta(days=1)


def test_it_runs_daily_by_the_clock_and_a_second_run_of_a_room_is_refused(services):
    asof = str(yesterday())
    run = until("a run by the clock", lambda: services.runs(), 5)[0]
    assert (run["run_type"], run["partition_key"]) == ("scheduled", asof)
    room = services.working_on("user_profiles", run["dag_run_id"])
    try:
        refused = services.narrows("transform", "user_profiles", "--asof", asof, check=False)
    finally:
        go_on(room)
    assert refused.returncode == 75, refused.stderr
    assert "another run holds" in refused.stderr
    assert services.over(run["dag_run_id"]) == "success"
    assert {task["try_number"] for task in services.tasks(run["dag_run_id"]).values()} == {1}
    assert services.narrows("show", "h1").stdout.count("\n") > 5
    again = services.narrows("up", "--port", str(PORT))
    assert f"http://127.0.0.1:{PORT}/" in again.stdout


def test_a_worker_that_is_killed_in_mid_room_is_replaced_while_two_schedulers_run(services):
    env = services.processes("airflow scheduler")[0].environ()
    command = [sys.executable, "-m", "airflow", "scheduler", "--skip-serve-logs"]
    log = (services.state / "log" / "second-scheduler.log").open("w")
    second = psutil.Popen(command, env=env, start_new_session=True, stdout=log, stderr=log)
    try:
        run = services.trigger(str(yesterday() - timedelta(days=7)))
        room = services.working_on("item_profiles", run)
        schedulers = {each.pid for each in services.processes("airflow scheduler")}
        for worker in room.parents():
            if worker.pid in schedulers:
                break
            worker.kill()
        room.kill()
        assert services.over(run) == "success"
        assert second.poll() is None
    finally:
        kill(second)
        log.close()
    tasks = services.tasks(run)
    assert tasks["item_profiles"]["try_number"] > 1
    assert {task["try_number"] for name, task in tasks.items() if name in ("events", "recall", "rank")} == {1}


def test_a_run_outlives_a_killed_scheduler_and_a_restart_of_the_database(services):
    run = services.trigger(str(yesterday() - timedelta(days=6)))
    go_on(services.working_on("user_profiles", run))
    killed = services.processes("airflow scheduler")
    for scheduler in killed:
        with suppress(psutil.NoSuchProcess):
            scheduler.kill()
    until("a new scheduler", lambda: set(services.processes("airflow scheduler")) - set(killed), 5)
    go_on(services.working_on("recall", run))
    server = int((services.state / "postgres" / "postmaster.pid").read_text().splitlines()[0])
    os.kill(server, signal.SIGINT)  # it ends at once, and the supervisor starts it again
    assert services.over(run) == "success"
    assert all(task["state"] == "success" for task in services.tasks(run).values())
