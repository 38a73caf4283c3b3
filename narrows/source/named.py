"""Named data sets: files in the format of ``narrows.toml``; adding one is adding a file."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from narrows.source.errors import SourceError
from narrows.source.urls import redacted

SHIPPED = Path(__file__).parent / "datasets"
OWN_FOLDER = "datasets"
"""Folder beside ``narrows.toml`` whose files can be named as well; they come before the shipped ones."""
FILES = "files"
"""The name of a source that ``[source]`` describes itself."""
TABLES = ("events", "items", "users")
OWN = (*TABLES, "event_columns", "item_columns", "user_columns", "time_format", "event_type")
"""Keys that only a data set itself may say; its horizon and grain are defaults."""


def described(
    name: str, given: Mapping[str, Any], base: Path, check: Callable[[dict[str, Any], str], Any]
) -> dict[str, Any]:
    """The section ``[source]`` of the data set that is called ``name``.

    Args:
        name: ``files`` (nothing is described), the name of a file in ``datasets/`` beside ``narrows.toml``, of a shipped
            one, or the path of a ``.toml`` file.
        given: the user's own section. Its ``horizon`` and ``grain`` come before the data set's.
        base: the folder of ``narrows.toml``. Relative paths start here, those of a data set at its own file.
        check: makes settings of the data set's section (given with the file's name), by the rules for ``[source]``.

    Raises:
        SourceError: no such data set, a file that is none, or a key that only the data set may say.
    """
    if name == FILES:
        return {}
    file = _file(name, base)
    section = _section(file)
    section |= {key: _beside(section[key], file, base) for key in TABLES if section.get(key)}
    complete = check(section, str(file))
    if own := [key for key in OWN if given.get(key) and given[key] != getattr(complete, key)]:
        raise SourceError(
            f'[source] {own[0]} is for name = "{FILES}"; {name} describes itself. Remove it, or set the name.'
        )
    return section


def names(base: Path) -> list[str]:
    """The data sets that a ``narrows.toml`` in ``base`` can name."""
    return sorted({file.stem for folder in (base / OWN_FOLDER, SHIPPED) for file in folder.glob("*.toml")})


def _file(name: str, base: Path) -> Path:
    is_path = name.endswith(".toml") or "/" in name
    folders = (base,) if is_path else (base / OWN_FOLDER, SHIPPED)
    places = [folder / f"{name.removesuffix('.toml')}.toml" for folder in folders]
    if file := next((place for place in places if place.is_file()), None):
        return file
    if is_path:
        raise SourceError(
            f"[source] name = {redacted(name)!r}: there is no such file. Relative paths start at {base}; for a path or "
            f'URL of events set name = "{FILES}" and events.'
        )
    raise SourceError(
        f"[source] name = {name!r}: give {', '.join(names(base))} or {FILES}, or the path of a .toml file."
    )


def _section(file: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SourceError(f"{file}: not valid TOML: {error}. Mend that line.") from error
    except OSError as error:
        raise SourceError(f"{file} cannot be read: {error.strerror}.") from error
    if other := [name for name in values if name != "source"]:
        raise SourceError(f"{file}: [{other[0]}] is no part of a data set. Keep [source] alone.")
    section = values.get("source")
    if not isinstance(section, dict) or not section.get("events"):
        raise SourceError(f"{file}: a data set needs [source] with `events`: the path, URL or glob of the events.")
    if section.pop("name", FILES) != FILES:
        raise SourceError(f"{file}: [source] name is another data set's. Remove it, and describe the files.")
    return section


def _beside(url: Any, file: Path, base: Path) -> Any:
    """A path that starts at the data set's file, as one that starts at ``base``."""
    if not isinstance(url, str) or "://" in url or Path(url).is_absolute():
        return url
    return os.path.relpath(file.parent / url, base) if file.is_relative_to(base) else str(file.parent / url)
