"""Which services there are: the command of each, its port, and the environment that all of them share."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from narrows.cli.airflow.tasks import DEFAULTS
from narrows.cli.airflow.workflow import ROOT, environment, variables
from narrows.cli.pages.links import Pages
from narrows.cli.pages.served import LOOPBACK
from narrows.cli.pages.servers import NO_JOBS
from narrows.cli.services import postgres, secrets

if TYPE_CHECKING:
    from narrows.settings import Settings

AIRFLOW_SETTINGS = ROOT / "infra" / "airflow" / "services.env"
OWN_SETTINGS = "airflow.env"
"""Beside ``narrows.toml``: a deployment's own settings and connections of Airflow, one variable a line; they count more."""
NAMES = ("airflow", "mlflow", "pages", "spark-page", "postgres", "spark", "spark-worker-page")
"""What has a port, in the order of the ports."""


@dataclass(frozen=True)
class Service:
    """A process that is kept up."""

    name: str
    command: list[str]
    user: str = ""
    """As whom it runs; empty = as this one."""
    stop: str = "TERM"


@dataclass(frozen=True)
class Plan:
    """The services of one state folder."""

    settings: Settings
    port: int
    """The first of seven."""

    @property
    def state(self) -> Path:
        return self.settings.state.absolute()

    @property
    def secrets(self) -> Path:
        return self.state / secrets.FOLDER

    @property
    def data(self) -> Path:
        """PostgreSQL's folder."""
        return self.state / "postgres"

    @property
    def logs(self) -> Path:
        return self.state / "log"

    @property
    def ports(self) -> dict[str, int]:
        return {name: self.port + at for at, name in enumerate(NAMES)}

    def address(self, name: str) -> str:
        """Of a page."""
        return f"http://{LOOPBACK}:{self.ports[name]}/"

    @cached_property
    def services(self) -> list[Service]:
        """All, in the order in which they are started."""
        python, at = [sys.executable, "-m"], self.ports
        backend = postgres.url(at["postgres"], "tracking")
        artifacts = (self.state / "mlartifacts").as_uri()
        mlflow = [
            "mlflow",
            "server",
            "--backend-store-uri",
            backend,
            "--artifacts-destination",
            artifacts,
            "--workers",
            "1",
        ]
        master = ["--port", str(at["spark"]), "--webui-port", str(at["spark-page"])]
        worker = ["--webui-port", str(at["spark-worker-page"]), "--work-dir", str(self.state / "spark")]
        return [
            Service("postgres", postgres.command(self.data, at["postgres"]), "" if os.geteuid() else postgres.user(), "INT"),
            Service("mlflow", [*python, *mlflow, "--host", LOOPBACK, "--port", str(at["mlflow"])]),
            Service("airflow-api-server", [*python, "airflow", "api-server", "--host", LOOPBACK, "--port", str(at["airflow"])]),
            Service("airflow-scheduler", [*python, "airflow", "scheduler", "--skip-serve-logs"]),
            Service("airflow-dag-processor", [*python, "airflow", "dag-processor"]),
            Service("airflow-triggerer", [*python, "airflow", "triggerer", "--skip-serve-logs"]),
            Service("spark-master", _spark("master.Master", *master)),
            Service("spark-worker", _spark("worker.Worker", *worker, f"spark://{LOOPBACK}:{at['spark']}")),
            Service("pages", [*python, "narrows.cli.pages.served", str(self.state), str(at["pages"])]),
        ]  # fmt: skip

    def environment(self) -> dict[str, str]:
        """Of every service, and of all tasks: where the others are. It holds no password; files that it names do.

        What the caller's environment sets of serving database, tracking server and Spark master stays.
        """
        at, file = self.ports, self.settings.base / "narrows.toml"
        pages = Pages(str(self.state), self.address("mlflow"), self.address("mlflow"), self.address("pages"))
        env = environment(self.state, settings=AIRFLOW_SETTINGS) | NO_JOBS | pages.as_env()
        metadata = postgres.url(at["postgres"], "airflow")
        env |= {
            "PGPASSFILE": str(self.secrets / secrets.PASSFILE),
            "PYSPARK_PYTHON": sys.executable,
            "SPARK_LOCAL_IP": LOOPBACK,
            "SPARK_NO_DAEMONIZE": "1",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": metadata,
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC": metadata,
            "AIRFLOW__API__BASE_URL": self.address("airflow"),
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{secrets.ADMIN}:admin",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(self.secrets / secrets.AIRFLOW_PASSWORDS),
            "AIRFLOW__CORE__FERNET_KEY_CMD": self._shown("fernet"),
            "AIRFLOW__API_AUTH__JWT_SECRET_CMD": self._shown("jwt"),
            "AIRFLOW__API__SECRET_KEY_CMD": self._shown("session"),
        }
        if file.is_file():
            env["NARROWS_FILE"] = os.environ.get("NARROWS_FILE") or str(file)
            env.pop(DEFAULTS)  # a worker that loses its file must not run the public data set
        own = self.settings.base / OWN_SETTINGS
        return self.clients() | env | (variables(own) if own.is_file() else {})

    def clients(self) -> dict[str, str]:
        """What commands in a shell need to use the same services: ``narrows show``, ``narrows run``."""
        at = self.ports
        return {
            "NARROWS_SERVING__URL": postgres.url(at["postgres"], "serving"),
            "NARROWS_MLFLOW__TRACKING_URI": self.address("mlflow").rstrip("/"),
            "NARROWS_SPARK__MASTER": f"spark://{LOOPBACK}:{at['spark']}",
            "PGPASSFILE": str(self.secrets / secrets.PASSFILE),
            "PYSPARK_PYTHON": sys.executable,
        }

    def _shown(self, key: str) -> str:
        """The command by which Airflow reads a key."""
        return f"cat {shlex.quote(str(self.secrets / key))}"


def _spark(what: str, *arguments: str) -> list[str]:
    """A daemon of the installed pyspark, on loopback."""
    from importlib.util import find_spec

    spec = find_spec("pyspark")
    assert spec
    assert spec.origin
    program = Path(spec.origin).parent / "bin" / "spark-class"
    return [str(program), f"org.apache.spark.deploy.{what}", "--host", LOOPBACK, *arguments]
