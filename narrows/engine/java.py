"""Whether this machine has a Java that Spark can use. Standard library only: it also runs before anything is installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

OLDEST_JAVA = 17
REMEDY = (
    f"Install a Java runtime, version {OLDEST_JAVA} or later (Debian, Ubuntu: apt-get install openjdk-17-jre-headless; "
    "macOS: brew install openjdk@17), or point JAVA_HOME at one."
)


class JavaError(RuntimeError):
    """No Java that Spark can use; the message says what is wrong and the remedy."""


def check_java() -> str | None:
    """None if a Java that Spark can use is found, else one line that says what is wrong and the remedy."""
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home, "bin", "java")) if home else shutil.which("java")
    if not java or not Path(java).exists():
        return f"Java is missing. {REMEDY}"
    answer = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)
    version = re.search(r'version "(?:1\.)?(\d+)', answer.stderr + answer.stdout)
    if not version or int(version.group(1)) < OLDEST_JAVA:
        return (
            f"{java} is Java {version.group(1) if version else '?'}, and Spark needs {OLDEST_JAVA} or later. {REMEDY}"
        )
    return None


def require_java() -> None:
    """Nothing if there is a Java that Spark can use.

    Raises:
        JavaError: there is none.
    """
    if trouble := check_java():
        raise JavaError(trouble)


if __name__ == "__main__":
    if sys.version_info < (3, 11):  # noqa: UP036 (this file also runs before anything is installed)
        sys.exit(
            f"Python {sys.version.split()[0]} is too old: Narrows needs 3.11 or later. Set PYTHON=python3.11 and run again."
        )
    sys.exit(check_java())
