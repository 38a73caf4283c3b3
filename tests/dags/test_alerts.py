"""Who is told what: nobody by default; mail and a webhook where the settings name them."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import pytest
from airflow.sdk import DAG

from narrows.cli.airflow import alerts

GIVEN = """
[alerts]
mail = ["ops@example.com"]
webhook_file = "webhook"
deadline_hours = 3.0
"""


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """Writes ``narrows.toml``, which the DAG files read."""
    monkeypatch.setenv("NARROWS_FILE", str(tmp_path / "narrows.toml"))
    return lambda text: (tmp_path / "narrows.toml").write_text(text)


@contextmanager
def webhook(file):
    """A server that keeps what is posted to it; the file gets its address."""
    posted = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        file.write_text(f"http://127.0.0.1:{server.server_port}/secret\n")
        yield posted
        server.shutdown()


def test_nothing_is_sent_unless_it_is_set(settings):
    settings("")
    assert alerts.channels("text") == []
    assert alerts.deadlines() == []
    assert alerts.on_failure() == [alerts.fail_in_mlflow]
    settings("[alerts]\ndeadline_hours = 3.0")
    assert alerts.deadlines() == []


def test_a_file_that_cannot_be_read_is_for_the_first_task_to_report(settings):
    settings("[alerts]\nmail = 3")
    assert alerts.channels("text") == []


def test_mail_and_webhook_are_airflows_notifiers(settings, tmp_path, monkeypatch):
    settings(GIVEN)
    sent = []
    server = SimpleNamespace(
        sendmail=lambda **given: sent.append(given), close=lambda: None, starttls=lambda **_: None, ehlo=lambda: None
    )
    monkeypatch.setenv("AIRFLOW_CONN_SMTP_DEFAULT", "smtp://127.0.0.1:1/?from_email=narrows%40example.com")
    monkeypatch.setattr("airflow.providers.smtp.hooks.smtp.SmtpHook._build_client", lambda self: server)
    mlflow, *notifiers = alerts.on_failure()
    assert mlflow is alerts.fail_in_mlflow
    with webhook(tmp_path / "webhook") as posted:
        alerts.warn("rank as of 2024-04-07", ["ndcg@20 is {{worse}}"], {})
        for notifier in notifiers:
            notifier({"run_id": "r1", "dag": DAG("daily", schedule=None), "reason": "task_failure"})
    failed = "Narrows: the run r1 of the DAG daily failed (task_failure)"
    assert posted == ["Narrows: rank as of 2024-04-07 warns:\nndcg@20 is {{worse}}", failed]
    assert [each["to_addrs"] for each in sent] == [["ops@example.com"]] * 2
    assert f"Subject: {failed}" in sent[1]["msg"].replace("\n ", " ")


def test_an_error_of_the_webhook_does_not_show_its_address(tmp_path):
    (tmp_path / "webhook").write_text("http://127.0.0.1:1/secret")
    with pytest.raises(RuntimeError, match="took no alert: URLError") as raised:
        alerts.Webhook(str(tmp_path / "webhook"), "text").notify({})
    assert "secret" not in str(raised.value)


def test_a_missed_deadline_is_told_from_the_triggerer(settings, tmp_path):
    """The triggerer awaits the notifier with the run that was late."""
    import asyncio

    settings(GIVEN)
    mail, hook = alerts.deadlines()
    assert mail.interval.total_seconds() == hook.interval.total_seconds() == 3 * 3600
    assert hook.callback.path == "narrows.cli.airflow.alerts.Webhook"

    async def missed():
        late = {"dag_run": {"dag_id": "daily", "dag_run_id": "r1"}, "deadline": {}}
        await alerts.Webhook(**hook.callback.kwargs, context=late)

    with webhook(tmp_path / "webhook") as posted:
        asyncio.run(missed())
    assert posted == ["Narrows: the run r1 of the DAG daily missed its deadline"]
