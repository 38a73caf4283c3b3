"""Where settings are given: a TOML file, and environment variables above it."""

from __future__ import annotations

import tomllib
import typing
from collections.abc import Mapping
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

from narrows.config.refusal import Refusal, joined

PREFIX = "NARROWS_"
Variables = dict[tuple[str, ...], str]
"""The environment variables in use, by the value that they set: ``("rank", "n")``."""


class SettingsError(ValueError):
    """A setting is wrong; the message names the file, the key and the remedy."""


def read_toml(file: Path, remedy: str) -> dict[str, Any]:
    """A TOML file's tables.

    Args:
        remedy: what to do where the file is not there.

    Raises:
        SettingsError: no such file, unreadable, or not TOML.
    """
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"{file}: there is no such file. {remedy}") from None
    except OSError as error:
        raise SettingsError(f"{file} cannot be read: {error.strerror}. {remedy}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file}: not valid TOML: {error}. Mend that line.") from error


def located(refusal: Refusal, file: Path | str, variables: Variables) -> str:
    """The refusal in one line with the file, or the environment variable, that its value is from."""
    for names, variable in variables.items():
        if names[: len(refusal.path)] == refusal.path[: len(names)]:
            return joined(f"environment variable {variable}{':' * refusal.of_table}", refusal.complaint)
    return f"{file}: {refusal}"


def overridden(
    values: Mapping[str, Any], env: Mapping[str, str], kinds: Mapping[str, Any], variables: Variables
) -> dict[str, Any]:
    """The values with those of the environment in their place; ``variables`` then tells which these are."""
    merged = dict(values)
    for variable in sorted(env, key=lambda name: name.count("__")):
        path = tuple(variable.removeprefix(PREFIX).lower().split("__"))
        if variable.startswith(PREFIX) and len(path) > 1:
            table = merged
            for name in path[:-1]:
                below = table.get(name)
                table[name] = dict(below) if isinstance(below, dict) else {}
                table = table[name]
            table[path[-1]] = _parsed(env[variable], kinds.get(path[0]), path[1:])
            variables[path] = variable
    return merged


def _parsed(text: str, kind: Any, path: tuple[str, ...]) -> Any:
    """A variable's text as it is where the setting is text, else as TOML."""
    for name in path:
        inner = typing.get_args(kind)[1:] if typing.get_origin(kind) is dict else ()
        kind = typing.get_type_hints(kind).get(name) if is_dataclass(kind) else inner[0] if inner else None
    try:
        return text if kind is str else tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
