"""Passwords and keys of the services: made once, below ``var/secrets``, readable by their owner alone."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path

from narrows.cli.pages.served import LOOPBACK

FOLDER = "secrets"
DATABASES = ("airflow", "tracking", "serving")
"""Databases, each with a role of its name that owns it."""
OWNER = "narrows"
"""The superuser that makes them."""
ADMIN = "admin"
"""The user of Airflow's pages and API."""
PASSFILE, AIRFLOW_PASSWORDS = "pgpass", "airflow.json"
KEYS = {"fernet": 32, "jwt": 64, "session": 32}
"""Airflow's keys, which its components share, and their bytes."""


def make(folder: Path, port: int) -> None:
    """Make what is not there yet; the passwords of the databases also as the file that libpq reads.

    Args:
        folder: ``var/secrets``.
        port: of PostgreSQL.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    for name, size in KEYS.items():
        _once(folder / name, lambda size=size: _key(size))
    for role in (OWNER, *DATABASES):
        _once(folder / f"postgres-{role}", lambda: secrets.token_urlsafe(24))
    _once(folder / AIRFLOW_PASSWORDS, lambda: json.dumps({ADMIN: secrets.token_urlsafe(12)}) + "\n")
    lines = [f"{LOOPBACK}:{port}:*:{role}:{password(folder, role)}" for role in (OWNER, *DATABASES)]
    _write(folder / PASSFILE, "\n".join(lines) + "\n")


def password(folder: Path, role: str) -> str:
    """Of a role of PostgreSQL."""
    return (folder / f"postgres-{role}").read_text()


def _key(size: int) -> str:
    """A key in URL-safe Base64 with its padding, as Fernet wants it."""
    from base64 import urlsafe_b64encode

    return urlsafe_b64encode(secrets.token_bytes(size)).decode()


def _once(file: Path, text: object) -> None:
    if not file.exists():
        _write(file, text())  # type: ignore[operator]


def _write(file: Path, text: str) -> None:
    """Replace a file that its owner alone may read, at no moment another."""
    draft = file.with_name(f".{file.name}")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(text)
    draft.replace(file)


if __name__ == "__main__":  # for containers, which read them from this folder
    import sys

    make(Path(sys.argv[1]), 5432)
