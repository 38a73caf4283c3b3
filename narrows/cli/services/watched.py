"""The supervisor: its configuration, its start and end, and what it says of the services. It is `supervisord <http://supervisord.org>`_."""

from __future__ import annotations

import hashlib
import http.client
import os
import shlex
import subprocess
import sys
import tempfile
import time
import xmlrpc.client
from pathlib import Path
from typing import Any

from narrows.cli.airflow.workflow import WorkflowError
from narrows.cli.services.plan import Plan, Service
from narrows.store.partitions import write_text

STARTS, STOPS = 60.0, 60.0
"""Seconds that the supervisor, and all services to end, may take."""
RUNNING = ("STARTING", "RUNNING")


def socket_of(plan: Plan) -> Path:
    """By which it is told what to do: in the temporary folder, because the path of a socket must be short."""
    key = hashlib.sha256(str(plan.state).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"narrows-{os.geteuid()}-{key}.sock"


def configuration(plan: Plan) -> str:
    """The supervisor's file; what it starts inherits its environment, so it holds none."""
    folder = plan.state / "services"
    lines = [
        "[unix_http_server]", f"file={socket_of(plan)}", "chmod=0600",
        "[supervisord]", f"pidfile={folder / 'supervisord.pid'}", f"logfile={plan.logs / 'supervisord.log'}",
        f"directory={plan.settings.base}", *(["user=root"] if not os.geteuid() else []),
        "[rpcinterface:supervisor]",
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
    ]  # fmt: skip
    for service in plan.services:
        lines += _program(plan, service)
    return "\n".join(lines).replace("%", "%%") + "\n"


def _program(plan: Plan, service: Service) -> list[str]:
    return [
        f"[program:{service.name}]", f"command={shlex.join(service.command)}", "autostart=false", "autorestart=true",
        "startsecs=2", "startretries=10", f"stopsignal={service.stop}", "stopwaitsecs=20", "killasgroup=true",
        *([] if service.name == "postgres" else ["stopasgroup=true"]),
        *([f"user={service.user}", "directory=/"] if service.user else []),
        "redirect_stderr=true", f"stdout_logfile={plan.logs / service.name}.log", "stdout_logfile_maxbytes=20MB",
        "stdout_logfile_backups=1",
    ]  # fmt: skip


def started(plan: Plan) -> None:
    """Start the supervisor, which starts nothing yet; nothing where it is up.

    Raises:
        WorkflowError: it does not start; names its log.
    """
    if is_up(plan):
        return
    folder = plan.state / "services"
    folder.mkdir(parents=True, exist_ok=True)
    plan.logs.mkdir(parents=True, exist_ok=True)
    file = folder / "supervisord.conf"
    write_text(file, configuration(plan))
    command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(file)]
    done = subprocess.run(command, env=plan.environment(), capture_output=True, text=True, check=False)
    end = time.monotonic() + STARTS
    while not is_up(plan):
        if done.returncode or time.monotonic() > end:
            raise WorkflowError(f"the supervisor did not start: {done.stderr.strip() or plan.logs / 'supervisord.log'}")
        time.sleep(0.2)


def is_up(plan: Plan) -> bool:
    try:
        _call(plan, "getState")
        return True
    except (OSError, http.client.HTTPException):
        return False


def states(plan: Plan) -> dict[str, str]:
    """What each service does: RUNNING, STARTING, BACKOFF, FATAL, STOPPED ..."""
    return {each["name"]: each["statename"] for each in _call(plan, "getAllProcessInfo")}


def start(plan: Plan, *names: str) -> None:
    """Start those of the services that do not run."""
    known = states(plan)
    for name in names:
        if known[name] not in RUNNING:
            _call(plan, "startProcess", name, False)


def end(plan: Plan) -> bool:
    """End all services, then the supervisor; whether it was up.

    Raises:
        WorkflowError: it still runs after a while.
    """
    if not is_up(plan):
        return False
    import psutil

    own, until = int(_call(plan, "getPID")), time.monotonic() + STOPS
    for name, state in states(plan).items():
        if name != "postgres" and state in (*RUNNING, "BACKOFF"):
            _call(plan, "stopProcess", name, False)
    while any(state == "STOPPING" for state in states(plan).values()):
        time.sleep(0.2)  # it kills what does not end
    _call(plan, "shutdown")  # and with it the database, which the others may have needed to the end
    while psutil.pid_exists(own) and psutil.Process(own).status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > until:
            raise WorkflowError(f"the supervisor does not end; its log: {plan.logs / 'supervisord.log'}")
        time.sleep(0.2)
    return True


def _call(plan: Plan, method: str, *given: Any) -> Any:
    from supervisor.xmlrpc import SupervisorTransport

    transport = SupervisorTransport(None, None, f"unix://{socket_of(plan)}")
    proxy = xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport)
    return getattr(proxy.supervisor, method)(*given)
