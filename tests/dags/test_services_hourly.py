"""The DAG hourly under real services (`narrows up`): by the clock and when events arrive, to the serving table. Slow."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from services import AIRFLOW, ENDED, Services, until

from narrows.asof import HOUR, Asof
from narrows.cli.airflow.workflow import WorkflowError
from narrows.cli.services import postgres
from narrows.serving import schema
from narrows.store.partitions import Store
from tests import world

pytest.importorskip("psycopg")
pytest.importorskip("supervisor")
pytestmark = pytest.mark.slow

PORT = 28180
PAUSED = "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION=True\n"
ABSENT = {f"h{n}" for n in range(70, 80)}
"""Households that take nothing in the hours that are missed."""
MISSED = 3
"""Hours that no run was made of."""


@pytest.fixture(scope="module")
def services(tmp_path_factory):
    try:
        postgres.programs()
    except WorkflowError:
        pytest.skip("no PostgreSQL on this machine")
    folder = tmp_path_factory.mktemp("hourly")
    file = world.write_hours(folder)
    file.write_text(file.read_text() + '\n[recommendations]\neverybody = "1d"\n')
    (folder / "airflow.env").write_text(AIRFLOW + PAUSED)
    found = Services(folder, PORT)
    try:
        found.up()
        yield found
    finally:
        found.down()


def hour(back: int) -> Asof:
    """The hour that ended so many hours ago; 0 = the last one that is over."""
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    return Asof(now - back * HOUR, HOUR)


def arrive(services: Services, first: Asof, last: Asof) -> None:
    """Let what happened up to the hour ``last`` be the source's; the fourteenth hour of the world is ``first``."""
    table = world.events(weeks=24, step=HOUR)
    at = pc.add(table["at"], pa.scalar(first.end - world.HOURLY.end))
    table = table.set_column(table.schema.get_field_index("at"), "at", at)
    absent = pc.is_in(table["household"], value_set=pa.array(sorted(ABSENT)))
    late = pc.greater_equal(table["at"], pa.scalar(first.end))
    kept = pc.and_(pc.less(table["at"], pa.scalar(last.end)), pc.invert(pc.and_(absent, late)))
    pq.write_table(table.filter(kept), services.folder / "arriving.parquet")
    (services.folder / "arriving.parquet").rename(services.folder / "events.parquet")


def over(services: Services, run: str, first: Asof) -> str:
    """The state of a run when it has ended; meanwhile hours end, and their events arrive."""
    there = [hour(0)]

    def state() -> str:
        if hour(0) > there[-1]:
            there.append(hour(0))
            arrive(services, first, there[-1])
        found = next(each["state"] for each in services.runs("hourly") if each["dag_run_id"] == run)
        return str(found) if found in ENDED else ""

    return until(f"{run} is over", state)


def served(services: Services) -> dict[str, str]:
    """The batch of each user's list in the serving database."""
    url = services.clients()["NARROWS_SERVING__URL"]
    engine = schema.open_engine(url)
    columns = schema.recommendation.c
    try:
        with engine.connect() as connection:
            live = connection.scalar(
                sa.select(schema.release.c.release_id).where(schema.release.c.state == schema.LIVE)
            )
            found = connection.execute(
                sa.select(columns.user_id, columns.batch_id).where(columns.release_id == live).distinct()
            )
            return dict(map(tuple, found))
    finally:
        engine.dispose()


def test_hours_that_were_missed_and_the_one_that_ended_are_made_by_the_scheduler(services, monkeypatch):
    monkeypatch.setenv("PGPASSFILE", services.clients()["PGPASSFILE"])
    began = hour(MISSED)
    arrive(services, began, began)
    services.narrows("run", "--asof", str(began))
    assert set(served(services).values()) == {str(began)}

    arrive(services, began, hour(0))
    services.ask("/api/v2/dags/hourly", {"is_paused": False}, "PATCH")
    run = until("a run by the clock", partial(services.runs, "hourly"), 5)[0]
    assert run["run_type"] == "scheduled"
    assert over(services, run["dag_run_id"], began) == "success"

    made = Store(services.state / "tables", HOUR).partitions("recommendations")
    assert made == [began + number * HOUR for number in range(len(made))], "each hour, and none left out"
    assert len(made) >= MISSED  # of the last hour five minutes after its end
    batches = served(services)
    without = ABSENT | {"quiet"}
    assert {batches[user] for user in without if user in batches} == {str(began)}, "who had no event keeps the list"
    assert {batch for user, batch in batches.items() if user not in without} <= set(map(str, made[1:]))
    assert len(batches) >= world.HOUSEHOLDS - len(ABSENT)


def test_a_run_starts_when_somebody_says_that_events_have_arrived(services):
    def assets() -> list[dict]:
        return list(services.ask("/api/v2/assets?uri_pattern=narrows://events/")["assets"])

    asset = until("the asset", assets, 5)[0]
    services.ask("/api/v2/assets/events", {"asset_id": asset["id"], "extra": {}})

    def arrived() -> list[dict]:
        return [run for run in services.runs("hourly") if run["run_type"] == "asset_triggered"]

    run = until("a run by the event", arrived, 5)[0]
    store = Store(services.state / "tables", HOUR)
    first = store.partitions("recommendations")[0]
    assert over(services, run["dag_run_id"], first) == "success"
    made = store.partitions("recommendations")
    assert made == [first + number * HOUR for number in range(len(made))]
    assert hour(1) <= made[-1] <= hour(0)
