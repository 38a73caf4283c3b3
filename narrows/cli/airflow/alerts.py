"""Who is told that a run failed, is late or warns: mail and a webhook, by Airflow's notifiers, where ``[alerts]`` names them.

A DAG file imports this at every parse, so it reads that one section and loads nothing heavy. What is secret is not in the
settings: the mail server is Airflow's connection ``smtp_default``, the webhook's address is the content of a file.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
import urllib.request
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import BaseNotifier

from narrows.config.origins import SettingsError, overridden
from narrows.config.refusal import Refusal, validated
from narrows.config.sections import AlertsSettings

SECONDS = 10.0
"""Within which a webhook must answer."""
FAILED = "Narrows: the run {{ run_id }} of the DAG {{ dag.dag_id }} failed ({{ reason }})"
LATE = "Narrows: the run {{ dag_run.dag_run_id or dag_run.run_id }} of the DAG {{ dag_run.dag_id }} missed its deadline"


class Webhook(BaseNotifier):
    """Posts ``{"text": ...}`` as JSON, as Slack, Mattermost and Teams take it.

    Args:
        file: holds the address.
        text: a template.
    """

    template_fields: Sequence[str] = ("text",)

    def __init__(self, file: str, text: str, **given: Any) -> None:
        super().__init__(**given)
        self.file, self.text = file, text

    def notify(self, context: Any) -> None:
        """Send it; an error names no address, which is secret."""
        body = json.dumps({"text": self.text}).encode()
        try:
            address = Path(self.file).read_text(encoding="utf-8").strip()
            request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
            with urllib.request.urlopen(request, timeout=SECONDS):
                pass
        except (OSError, ValueError) as error:
            raise RuntimeError(f"the webhook of {self.file} took no alert: {type(error).__name__}") from None

    async def async_notify(self, context: Any) -> None:
        import asyncio

        await asyncio.to_thread(self.notify, context)


def settings() -> AlertsSettings:
    """The section ``[alerts]``; of a file that cannot be read its defaults: the first task says what is wrong."""
    file = Path(os.environ.get("NARROWS_FILE") or "narrows.toml").absolute()
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        values = overridden(values, os.environ, {"alerts": AlertsSettings}, {})
        found: AlertsSettings = validated(AlertsSettings, values.get("alerts", {}), ("alerts",))
    except (OSError, ValueError, Refusal, SettingsError):
        return AlertsSettings()
    place = str(file.parent / found.webhook_file) if found.webhook_file else ""
    return AlertsSettings(mail=found.mail, webhook_file=place, deadline_hours=found.deadline_hours)


def channels(text: str) -> list[tuple[Any, dict[str, Any]]]:
    """The notifiers that the settings name, each as its class and its arguments; none by default."""
    given = settings()
    found: list[tuple[Any, dict[str, Any]]] = []
    if given.mail:
        from airflow.providers.smtp.notifications.smtp import SmtpNotifier

        found.append((SmtpNotifier, {"to": list(given.mail), "subject": text, "html_content": text}))
    if given.webhook_file:
        found.append((Webhook, {"file": given.webhook_file, "text": text}))
    return found


def on_failure() -> list[Callable[[Any], None]]:
    """What happens when a run of a DAG fails: its run in MLflow is FAILED too, and whom the settings name is told."""
    return [fail_in_mlflow, *(kind(**given) for kind, given in channels(FAILED))]


def deadlines() -> list[Any]:
    """The deadline of a run, from when it was queued; the triggerer tells whom the settings name. None by default."""
    from airflow.sdk.definitions.callback import AsyncCallback
    from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

    hours = timedelta(hours=settings().deadline_hours)
    told = channels(LATE) if hours else []
    return [
        DeadlineAlert(DeadlineReference.DAGRUN_QUEUED_AT, hours, AsyncCallback(kind, given)) for kind, given in told
    ]


def warn(what: str, lines: Sequence[str], context: Any) -> None:
    """Tell whom the settings name what a room warned of, such as quality that is worse or a feature that drifted."""
    text = "\n".join([f"Narrows: {what} warns:", *lines])
    for kind, given in channels(f"{{% raw %}}{text}{{% endraw %}}") if lines else ():
        kind(**given)(dict(context))


def fail_in_mlflow(context: Any) -> None:
    """Mark the run of MLflow that the tasks of a failed run logged to, in a process of its own."""
    subprocess.run([sys.executable, "-m", "narrows.cli.airflow.failed", context["run_id"]], check=False)
