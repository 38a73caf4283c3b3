"""The commands ``up`` and ``down``: what production has, as services of this machine."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
import urllib.error
import urllib.request
from argparse import Namespace
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from narrows.cli.command import Command
from narrows.pipeline import Pipeline

if TYPE_CHECKING:
    from narrows.cli.services.plan import Plan
    from narrows.settings import Settings

TEXT = "Start what production has, as services of this machine: PostgreSQL, MLflow, Airflow and a Spark cluster."
ABOUT = """They go on when this command has ended, are started again when they end by themselves, and keep their data, logs and
passwords below the state folder. Called again, it starts what does not run. The DAG runs daily by the clock, and when it is
triggered. Ports are seven in a row."""
PARTS = ("metadatabase", "scheduler", "triggerer", "dag_processor")
"""What Airflow's health page must call healthy."""
SCHEDULER = "airflow-scheduler"
SECONDS = 600.0
"""Within which all must be healthy."""


def up(settings: Settings, args: Namespace) -> int:
    """Start the services that do not run, and wait until each is healthy."""
    from narrows.cli.airflow.workflow import WorkflowError
    from narrows.cli.pages.servers import require_free
    from narrows.cli.services import postgres, secrets, watched
    from narrows.cli.services.plan import AIRFLOW_SETTINGS
    from narrows.engine.java import require_java

    require_java()
    missing = [name for name in ("psycopg", "supervisor") if not find_spec(name)]
    if missing or not AIRFLOW_SETTINGS.exists():
        what = f"the Python packages {', '.join(missing)}" if missing else "a clone of the repository"
        raise WorkflowError(f"`narrows up` needs {what}. Run: pip install -e '.[services]' -c constraints.txt")
    plan = _plan(settings, args)
    postgres.programs()
    secrets.make(plan.secrets, plan.ports["postgres"])
    new = postgres.initialise(plan.data, plan.secrets)
    if not watched.is_up(plan):
        for name, port in plan.ports.items():
            require_free(port, name, "seven others: `narrows up --port 9080`")
    watched.started(plan)
    watched.start(plan, "postgres")
    postgres.create_databases(plan.ports["postgres"], plan.secrets)
    _migrate(plan, new)
    # the scheduler last: a task that starts before the API server answers has lost a try
    watched.start(plan, *(service.name for service in plan.services if service.name != SCHEDULER))
    _wait(plan, "scheduler")
    watched.start(plan, SCHEDULER)
    _wait(plan)
    _tell(plan)
    return 0


def down(settings: Settings, args: Namespace) -> int:
    """End the services; their data stays."""
    from narrows.cli.services import watched

    found = find_spec("supervisor") and watched.end(_plan(settings, args))
    print("All services have ended; their data stays." if found else "No service is up.")
    return 0


def _plan(settings: Settings, args: Namespace) -> Plan:
    from narrows.cli.services.plan import Plan

    if args.file:
        os.environ["NARROWS_FILE"] = str(args.file.absolute())
    return Plan(settings, getattr(args, "port", 8080))


def _migrate(plan: Plan, new: bool) -> None:
    """Make Airflow's tables, or bring them up to the installed version; once a version, for it takes time."""
    from narrows.cli.airflow.workflow import WorkflowError

    marker, wanted = plan.state / "services" / "migrated", version("apache-airflow")
    if not new and marker.exists() and marker.read_text() == wanted:
        return
    with (plan.logs / "airflow-migrate.log").open("w") as log:
        command = [sys.executable, "-m", "airflow", "db", "migrate"]
        code = subprocess.run(command, env=plan.environment(), stdout=log, stderr=log, check=False).returncode
    if code:
        raise WorkflowError(f"Airflow could not set up its database; {log.name} says why.")
    marker.write_text(wanted)


def _wait(plan: Plan, *but: str) -> None:
    """Until all are healthy ``but`` those of these names.

    Raises:
        WorkflowError: one is not, after a while; says where the logs are.
    """
    from narrows.cli.airflow.workflow import WorkflowError
    from narrows.cli.services import watched

    end, sick = time.monotonic() + SECONDS, ["all"]
    while sick:
        if time.monotonic() > end:
            raise WorkflowError(f"not healthy after {SECONDS:.0f} s: {', '.join(sick)}. Their logs are in {plan.logs}")
        sick = [name for name in unhealthy(plan) if name not in but]
        states = watched.states(plan)
        if dead := [name for name, state in states.items() if state == "FATAL"]:
            raise WorkflowError(f"{', '.join(dead)} did not start. The logs are in {plan.logs}")
        if sick:
            time.sleep(1)


def unhealthy(plan: Plan) -> list[str]:
    """Which services do not answer as they should."""
    airflow = _asked(plan.address("airflow") + "api/v2/monitor/health")
    spark = _asked(plan.address("spark-page") + "json/")
    sick = [part for part in PARTS if (airflow or {}).get(part, {}).get("status") != "healthy"]
    sick += [] if (spark or {}).get("aliveworkers") else ["spark"]
    sick += [] if _asked(plan.address("mlflow") + "health") else ["mlflow"]
    return sick + ([] if _asked(plan.address("pages")) else ["pages"])


def _asked(address: str) -> Any:
    """What a page answers: JSON, or True; None where it does not."""
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            text = answer.read()
    except (urllib.error.URLError, OSError):
        return None
    try:
        return json.loads(text)
    except ValueError:
        return True


def _tell(plan: Plan) -> None:
    from narrows.cli.services import secrets
    from narrows.cli.services.plan import LOOPBACK
    from narrows.store.partitions import write_text

    file = plan.state / "services" / "env"
    write_text(file, "".join(f"export {name}={shlex.quote(value)}\n" for name, value in plan.clients().items()))
    for what, name in (("Airflow", "airflow"), ("MLflow", "mlflow"), ("Reports and data docs", "pages")):
        print(f"{what:<22} {plan.address(name)}")
    print(f"{'Spark':<22} {plan.address('spark-page')}  spark://{LOOPBACK}:{plan.ports['spark']}")
    print(f"{'PostgreSQL':<22} {LOOPBACK}:{plan.ports['postgres']}")
    print(f"Airflow's user is {secrets.ADMIN}; its password is in {plan.secrets / secrets.AIRFLOW_PASSWORDS}.")
    print(f"Logs are in {plan.logs}. For commands in a shell: . {file}")


def arguments(parser: argparse.ArgumentParser, pipeline: Pipeline) -> None:
    """Of ``up``."""
    parser.description = f"{TEXT}\n\n{ABOUT}"
    parser.add_argument(
        "--port", type=int, default=8080, help="of Airflow; the others take the next six (default 8080)"
    )


COMMANDS = (
    Command("up", TEXT, up, arguments, (("narrows up", "PostgreSQL, MLflow, Airflow and Spark, until narrows down"),)),
    Command(
        "down", "End the services of `narrows up`; their data stays.", down, examples=(("narrows down", "end them"),)
    ),
)
