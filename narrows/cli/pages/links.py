"""Where what a task made is shown: its run in MLflow, its page of the data docs, the report of its run.

Worked out when somebody looks, from what the state folder holds then: so an address has the ports that `narrows ui`
uses now, and a table that was found in the store leads to what was logged when it was made.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote

from narrows.cli.mlflow.saved_view import run_link

VARIABLE = "NARROWS_PAGES"
"""The environment variable in which `narrows ui` tells its Airflow where the other pages are."""


@dataclass(frozen=True)
class Pages:
    """The other pages of `narrows ui`; an address ends with a slash."""

    state: str
    tracking_uri: str
    mlflow: str
    documents: str
    """Of the reports and data docs."""

    @classmethod
    def of(cls, env: Mapping[str, str] = os.environ) -> Pages | None:
        """As `narrows ui` says; None in another Airflow."""
        return cls(**json.loads(env[VARIABLE])) if VARIABLE in env else None

    def as_env(self) -> dict[str, str]:
        return {VARIABLE: json.dumps(asdict(self))}

    def mlflow_run(self, room: str, version: str) -> str:
        """The newest run that logged this version of the room's table; MLflow's first page where that is not known."""
        path = self.tracking_uri.removeprefix("sqlite:///")
        if not version or path == self.tracking_uri or not Path(path).exists():
            return self.mlflow
        query = (
            "SELECT runs.experiment_id, runs.run_uuid FROM runs JOIN tags USING (run_uuid)"
            " WHERE tags.key = 'fingerprint' AND tags.value LIKE ? AND runs.lifecycle_stage = 'active'"
            " ORDER BY runs.start_time DESC LIMIT 1"
        )
        try:
            with closing(sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True, timeout=5)) as database:
                found = database.execute(query, (f"{version}%",)).fetchone()
        except sqlite3.Error:  # a version of MLflow with other tables
            return self.mlflow
        return run_link(self.mlflow, found[0], found[1]) if found else self.mlflow

    def data_docs(self, room: str, version: str) -> str:
        """The page of the audit of this version; the index where there is none."""
        docs = Path(self.state, "data_docs")
        found = sorted(docs.glob(f"validations/{room}/{version}/*/{room}.html")) if version else []
        page = found[-1].relative_to(docs).as_posix() if found else "index.html"
        return f"{self.documents}data_docs/{quote(page)}"

    def report(self, room: str, version: str) -> str:
        """The report of the newest recorded run that has this version; the index where there is none."""
        for file in sorted(
            Path(self.state, "runs").glob("*.json"), key=lambda file: (len(file.stem), file.stem), reverse=True
        ):
            page = Path(self.state, "reports", f"{file.stem}.html")
            tables = json.loads(file.read_text()).get("tables", {})
            if version and page.exists() and tables.get(room, {}).get("version") == version:
                return f"{self.documents}reports/{quote(page.name)}"
        return f"{self.documents}reports/"
