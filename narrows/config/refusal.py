"""Tables of a TOML file made into checked values; what is refused is said in one line with table, key and remedy."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from narrows.config.constraints import TYPES, allowed, resolved, schema, unknown

T = TypeVar("T")
Path = tuple[str | int, ...]
"""The way to a value: names of tables and keys, and positions in lists."""
UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")
MISSING = ("missing", "missing_keyword_only_argument", "missing_argument")


class Refusal(ValueError):
    """A value is refused: ``[recall.channels.own] quota = 0: give 1 or more.``"""

    def __init__(self, path: Path, complaint: str, of_table: bool = False):
        """
        Args:
            path: where the value stands.
            complaint: what is wrong and the remedy, as it follows the value's name.
            of_table: the complaint follows the name of the table instead: it has no such key, or lacks it.
        """
        super().__init__(joined(table_of(path[:-1]) if of_table else name_of(path), complaint))
        self.path, self.complaint, self.of_table = path, complaint, of_table

    def below(self, *tables: str | int) -> Refusal:
        """The same refusal, where the value stands below ``tables``."""
        return Refusal((*tables, *self.path), self.complaint, self.of_table)


def validated(kind: type[T], values: Mapping[str, Any], path: Path = ()) -> T:
    """``kind`` (a pydantic model or a dataclass) made of a TOML table; types are taken strictly.

    Args:
        path: where the table stands, for the message.

    Raises:
        Refusal: a value does not fit; the first one.
    """
    text = json.dumps(values, default=str)  # in JSON strict types still let a list be a tuple
    try:
        return TypeAdapter(kind).validate_json(text, strict=True)
    except ValidationError as error:
        refusal = _refusal(error.errors(include_url=False)[0], schema(kind), values)
    raise refusal.below(*path)  # here and not above: as its context pydantic's error would show secrets


def refusal_of(error: Exception) -> Refusal:
    """What a class's own check says of its table, ``key = value: remedy.`` or any other sentence."""
    key, equals, rest = str(error).partition(" = ")
    named = bool(equals) and key.isidentifier()
    return Refusal((key if named else "",), f"= {rest}" if named else str(error), of_table=not named)


def joined(subject: str, complaint: str) -> str:
    """A sentence: ``[rank] n = 0: give 1 or more.``, ``[serving] url: give a URL.``"""
    return f"{subject}{'' if complaint.startswith(':') else ' '}{complaint}".strip()


def name_of(path: Path) -> str:
    """``[recall.channels.own] quota`` or ``[[pin]] number 2 position``, as the file writes it; a list as a whole."""
    path = _whole(path)
    return " ".join(filter(None, [table_of(path[:-1]), *map(str, path[-1:])]))


def table_of(path: Path) -> str:
    """``[recall.channels.own]`` or ``[[pin]] number 2``; empty for the whole file."""
    at = next((at for at, name in enumerate(path) if isinstance(name, int)), len(path))
    name = ".".join(map(str, path[:at]))
    if at < len(path):
        return " ".join([f"[[{name}]] number {int(path[at]) + 1}", *map(str, path[at + 1 :])])
    return f"[{name}]" if name else ""


def _whole(path: Path) -> Path:
    """The path without positions at its end: a list is shown as a whole."""
    return _whole(path[:-1]) if path and isinstance(path[-1], int) else path


def _refusal(error: Mapping[str, Any], whole: Mapping[str, Any], values: Any) -> Refusal:
    """An error of pydantic in the words of the file's writer."""
    kind, path, fields = error["type"], tuple(error["loc"]), [whole]
    for step in path:
        fields.append(resolved(_below(fields[-1], step), whole))
    if kind in UNKNOWN:
        known = fields[-2].get("properties", {})
        tables = all(_is_table(resolved(field, whole)) for field in known.values())
        what = "section" if len(path) == 1 and tables else "key"
        return Refusal(path, unknown(str(path[-1]), known, what), of_table=True)
    if kind in MISSING:
        return Refusal(path, f"has no {path[-1]}: add one.", of_table=True)
    while not fields[-1]:  # pydantic's path goes on with the members of a union
        path = path[:-1]
        fields.pop()
    field = fields[-1]
    if kind == "value_error" and "properties" in field:
        return refusal_of(error["ctx"]["error"]).below(*path)
    if "properties" in field:
        return Refusal(path, f"must be a section: write {table_of(path)} and its keys below.")
    if "properties" in field.get("items", {}) and kind.endswith("_type"):
        return Refusal(path, f"must be written [[{path[-1]}]], once for each.")
    shown = "" if any(each.get("writeOnly") for each in fields) else f"= {_at(values, _whole(path))!r}"
    if kind == "value_error":
        return Refusal(path, f"{shown}: {error['ctx']['error']}")
    if kind.endswith("_type"):
        wanted = allowed(field) if "description" in field else TYPES.get(field.get("type", ""), "")
        return Refusal(path, f"{shown} has the wrong type: give {wanted or 'another'}.".strip())
    wanted = allowed(fields[len(_whole(path))])
    return Refusal(path, f"{shown}: give {wanted}." if wanted else f"{shown}: {error['msg']}.")


def _below(field: Mapping[str, Any], step: str | int) -> Mapping[str, Any]:
    below = field.get("items") if isinstance(step, int) else field.get("properties", {}).get(step)
    below = below or field.get("additionalProperties")
    return below if isinstance(below, Mapping) else {}


def _is_table(field: Mapping[str, Any]) -> bool:
    return "properties" in field or "properties" in field.get("items", {})


def _at(values: Any, path: Path) -> Any:
    for step in path:
        values = values[step]
    return values
