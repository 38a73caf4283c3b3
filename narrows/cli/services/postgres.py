"""PostgreSQL below the state folder: found, initialised, and with a database for each of its users."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from narrows.cli.airflow.workflow import WorkflowError
from narrows.cli.pages.served import LOOPBACK
from narrows.cli.services.secrets import DATABASES, OWNER, password

PLACES = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/pgsql/bin", "/opt/homebrew/opt/postgresql*/bin")
"""Where distributions put the server's programs, which are seldom in PATH."""
UNPRIVILEGED = ("postgres", "nobody")
"""As whom it runs where this process is root, which it refuses."""


def programs() -> Path:
    """The folder with ``initdb`` and ``postgres``; of several versions the newest.

    Raises:
        WorkflowError: PostgreSQL is not installed.
    """
    if found := shutil.which("initdb"):
        return Path(found).parent
    folders = [folder for place in PLACES for folder in Path("/").glob(place[1:]) if (folder / "initdb").exists()]
    if not folders:
        raise WorkflowError(
            f"PostgreSQL is not installed: no initdb in PATH nor in {', '.join(PLACES)}. Install its server (Debian: "
            "apt-get install postgresql; macOS: brew install postgresql) and run again."
        )
    return max(folders, key=lambda folder: [int(part) for part in folder.as_posix().split("/") if part.isdigit()])


def user() -> str:
    """As whom the server runs: this user, but where that is root another, for PostgreSQL refuses root."""
    if os.geteuid():
        return pwd.getpwuid(os.geteuid()).pw_name
    for name in UNPRIVILEGED:
        with suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    raise WorkflowError(f"PostgreSQL refuses root, and there is no user {' or '.join(UNPRIVILEGED)}. Make one.")


def initialise(data: Path, secrets: Path) -> bool:
    """Make the data folder, if there is none; whether it was made.

    Raises:
        WorkflowError: the server's user cannot reach the folder, or ``initdb`` failed.
    """
    if (data / "PG_VERSION").exists():
        return False
    data.mkdir(parents=True, exist_ok=True)
    who: dict[str, Any] = {"cwd": "/"}
    if not os.geteuid():
        account = pwd.getpwnam(user())
        os.chown(data, account.pw_uid, account.pw_gid)
        who |= {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    data.chmod(0o700)
    if subprocess.run(["test", "-w", str(data)], **who).returncode:
        raise WorkflowError(
            f"PostgreSQL runs as the user {user()}, who cannot reach {data}: a folder above it is closed to others. Choose "
            "another state folder ([store] root), or open the way: chmod o+x."
        )
    with tempfile.NamedTemporaryFile("w") as given:  # of mode 0600
        given.write(password(secrets, OWNER))
        given.flush()
        if "user" in who:
            os.chown(given.name, who["user"], who["group"])
        command = [programs() / "initdb", "-D", data, "-U", OWNER, "--auth=scram-sha-256", f"--pwfile={given.name}"]
        command += ["--encoding=UTF8", "--locale=C.UTF-8"]
        done = subprocess.run(list(map(str, command)), text=True, capture_output=True, check=False, **who)
    if done.returncode:
        raise WorkflowError(f"initdb failed: {done.stderr.strip()}")
    return True


def command(data: Path, port: int) -> list[str]:
    """What starts the server in the foreground: on loopback alone, and without a socket file."""
    options = {"listen_addresses": LOOPBACK, "port": port, "unix_socket_directories": "", "max_connections": 200}
    settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    return [str(programs() / "postgres"), "-D", str(data), *settings]


def url(port: int, database: str) -> str:
    """Without a password: libpq takes it from the file that PGPASSFILE names."""
    return f"postgresql+psycopg://{database}@{LOOPBACK}:{port}/{database}"


def create_databases(port: int, secrets: Path, seconds: float = 60) -> None:
    """Wait until the server takes connections, and make the roles and databases that are not there yet.

    Raises:
        WorkflowError: it takes none.
    """
    import psycopg
    from psycopg.sql import SQL, Identifier, Literal

    end, said = time.monotonic() + seconds, ""
    while time.monotonic() < end:
        try:
            with psycopg.connect(
                host=LOOPBACK,
                port=port,
                user=OWNER,
                dbname="postgres",
                password=password(secrets, OWNER),
                autocommit=True,
            ) as connection:
                roles = {row[0] for row in connection.execute("SELECT rolname FROM pg_roles")}
                databases = {row[0] for row in connection.execute("SELECT datname FROM pg_database")}
                for name in DATABASES:
                    own, secret = Identifier(name), Literal(password(secrets, name))
                    if name not in roles:
                        connection.execute(SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(own, secret))
                    if name not in databases:
                        connection.execute(SQL("CREATE DATABASE {} OWNER {}").format(own, own))
            return
        except psycopg.OperationalError as error:
            said = str(error).strip()
            time.sleep(0.3)
    raise WorkflowError(f"PostgreSQL takes no connection on port {port}: {said}")
