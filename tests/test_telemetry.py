"""Nothing is reported to anyone: not by a command, a DAG task, a server or a test."""

import json
import os
import subprocess
import sys

from narrows.cli.airflow.tasks import run_room
from narrows.cli.airflow.workflow import ROOT, environment
from narrows.engine.telemetry import OFF, turn_off

ON = {
    "MLFLOW_DISABLE_TELEMETRY": "false",
    "GX_ANALYTICS_ENABLED": "true",
    "OTEL_SDK_DISABLED": "false",
    "DO_NOT_TRACK": "0",
}
"""A machine on which somebody turned reports on."""


def python(code, **more):
    """What a process prints as JSON that was started on such a machine, outside any CI, which MLflow would notice."""
    env = {
        key: value for key, value in os.environ.items() if key not in ("CI", "PYTEST_CURRENT_TEST", "GITHUB_ACTIONS")
    }
    env = {**env, **ON, "PYTHONPATH": str(ROOT), **more}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def test_reports_are_off_in_tests():
    assert os.environ.items() >= OFF.items()


def test_importing_any_part_turns_reports_off_whatever_the_machine_says():
    assert ON.keys() == OFF.keys()
    assert python("import narrows.asof, os, json; print(json.dumps(dict(os.environ)))").items() >= OFF.items()


def test_mlflow_obeys():
    code = "import narrows, json; from mlflow.telemetry.utils import is_telemetry_disabled; print(json.dumps(is_telemetry_disabled()))"
    assert python(code) is True
    assert python(code.replace("import narrows, ", "import ")) is False, "the check can tell"


def test_great_expectations_obeys(tmp_path):
    code = (
        "import json; from narrows.audit.suite import _context\n"
        f"print(json.dumps(_context({str(tmp_path)!r}).config.analytics_enabled))"
    )
    assert python(code) is False


def test_airflow_and_all_that_it_starts_report_nothing(tmp_path, monkeypatch):
    for key, value in ON.items():
        monkeypatch.setenv(key, value)
    env = environment(tmp_path)
    assert env.items() >= OFF.items()
    code = (
        "import json; from airflow.configuration import conf\n"
        "print(json.dumps([conf.getboolean('metrics', 'statsd_on'), conf.getboolean('metrics', 'otel_on'),"
        " conf.getboolean('traces', 'otel_on'), conf.getboolean('sentry', 'sentry_on', fallback=False)]))"
    )
    assert python(code, **env) == [False] * 4


def test_a_task_hands_it_to_its_room(tmp_path, monkeypatch, capsys):
    room = tmp_path / "narrows"
    room.mkdir()
    (room / "__init__.py").touch()
    (room / "__main__.py").write_text(
        f"import os, sys; print({{key: os.environ[key] for key in {sorted(OFF)}}}, file=sys.stderr); print('v')"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NARROWS_TASK_LOGS", raising=False)
    monkeypatch.setenv("NARROWS_DEFAULTS", "1")
    run_room("recall", "2017-11-30", "run")
    assert str(dict(sorted(OFF.items()))) in capsys.readouterr().out


def test_turning_off_replaces_what_is_set():
    env = dict(ON)
    turn_off(env)
    assert env == OFF
