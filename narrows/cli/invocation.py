"""How the program is called here: what a message may tell a person to type."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from narrows.settings import Settings
    from narrows.stage import Table

CLONE = Path(__file__).parents[2]
FILE = "narrows.toml"


def program(folder: Path | None = None) -> str:
    """``narrows`` where the shell finds it, else its path as seen from a folder (default: the current one), or the module."""
    if shutil.which("narrows"):
        return "narrows"
    script = Path(sys.executable).with_name("narrows")
    if not script.exists():
        return f"{shlex.quote(sys.executable)} -m narrows"
    here = folder or Path.cwd()
    return shlex.quote(str(script.relative_to(here) if script.is_relative_to(here) else script))


def in_clone() -> bool:
    """Whether the verbs of ``make`` work: the current folder is a clone of the repository."""
    return Path.cwd() == CLONE and (CLONE / "Makefile").is_file()


def next_steps(settings: Settings, lists: Table) -> list[str]:
    """Commands that show more of a run, as they can be typed here, for a user and an item that its lists have."""
    named = ""
    if settings.base != Path.cwd() and not os.environ.get("NARROWS_FILE") and (settings.base / FILE).is_file():
        named = f" --file {shlex.quote(str(settings.base / FILE))}"
    call = program() + named
    first = lists.dataset().head(1, columns=["user_id", "item_id"]).to_pylist()
    user, item = (shlex.quote(first[0][name]) for name in ("user_id", "item_id")) if first else ("USER", "ITEM")
    pages = ("make ui" if in_clone() else f"{call} ui", "all pages of what ran, in the browser")
    commands = [
        pages,
        (f"{call} show {user}", f"the list that user {user} is served"),
        (f"{call} why {user} {item}", "what happened to an item of it"),
    ]
    width = max(len(command) for command, _ in commands)
    return [f"{command:<{width}}   {text}" for command, text in commands]
