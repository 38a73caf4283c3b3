"""Failures that mend themselves: what was missing, held or away may be there at the next try.

A command that ends by one has the exit status 75 (EX_TEMPFAIL of sysexits.h), and a task of the DAG tries it again later.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

WRONG = ("password authentication failed", "does not exist", "no pg_hba.conf entry", "no password supplied")
"""What PostgreSQL says where it is up and the settings are wrong: a connection's error carries no code."""
AWAY = {"requests.ConnectionError", "requests.Timeout", "psycopg.OperationalError"}
BUSY = ("database is locked", "database is busy")
"""What SQLite says while another process writes; its other operational errors stay."""
REFUSED = frozenset({400, 401, 403})
"""What HTTP answers where the request or its credentials are wrong."""


class Temporary(Exception):
    """Mixed into errors of a source that is not there yet, a fetch that failed, a held lock, a service that is away."""


def mends_itself(error: BaseException | None) -> bool:
    """Whether an error, or one that it came from, is temporary: marked so, or a database or server that is away.

    Only libraries that are loaded are looked at: an error of another cannot be here.
    """
    return any(isinstance(each, Temporary) or _away(each) for each in _chain(error))


def fetch_mends_itself(error: BaseException) -> bool:
    """Whether a place may be reached later: not where its name, its package or its credentials are wrong."""
    if isinstance(error, (ImportError, PermissionError, ValueError)) or "Credentials" in type(error).__name__:
        return False
    return not any(http_status(each) in REFUSED for each in _chain(error))


def http_status(error: BaseException) -> int:
    """The HTTP status of an error of aiohttp, requests or an AWS client; 0 = it has none."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    found = getattr(error, "status", None) or getattr(response, "status_code", None)
    return found if isinstance(found, int) else 0


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and those that it came from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _away(error: BaseException) -> bool:
    text = str(error)
    if (mlflow := sys.modules.get("mlflow.exceptions")) and isinstance(error, mlflow.MlflowException):
        return error.error_code == "TEMPORARILY_UNAVAILABLE" and not error.__cause__  # else the cause says what it is
    if (database := sys.modules.get("sqlalchemy.exc")) and isinstance(error, database.DBAPIError):
        if type(error.orig).__module__ == "sqlite3":
            return any(words in text for words in BUSY)
        away = isinstance(error, (database.OperationalError, database.InterfaceError))
        return (away or error.connection_invalidated) and not any(words in text for words in WRONG)
    names = {f"{each.__module__.partition('.')[0]}.{each.__name__}" for each in type(error).__mro__}
    return bool(names & AWAY) and not any(words in text for words in WRONG)
