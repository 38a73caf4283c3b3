"""What values a setting may have: as data (JSON Schema) and in words.

The bounds are those of the pydantic fields (``Field(ge=1)``, ``Literal``). Three keywords of JSON Schema help the words:
``description`` (what kind of value it is), ``examples``, and ``writeOnly`` (a secret: no message shows it).
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from typing import Any

TYPES = {
    "integer": "a whole number", "number": "a number", "string": 'text in "quotes"', "boolean": "true or false",
    "array": "a list", "object": "a table",
}  # fmt: skip


def schema(kind: Any) -> dict[str, Any]:
    """The JSON Schema of a pydantic model or a dataclass."""
    from pydantic import TypeAdapter

    whole = TypeAdapter(kind).json_schema()
    return resolved(whole, whole)


def resolved(field: Mapping[str, Any], whole: Mapping[str, Any]) -> dict[str, Any]:
    """A field's schema with the definitions of ``whole`` that it and its items refer to filled in."""
    filled = dict(field)
    if reference := filled.pop("$ref", None):
        filled = {**whole["$defs"][reference.rpartition("/")[2]], **filled}
    if "items" in filled:
        filled["items"] = resolved(filled["items"], whole)
    return filled


def bounds(kind: Any) -> dict[str, dict[str, Any]]:
    """The JSON Schema of each field of a model or dataclass: type, minimum, exclusiveMinimum, enum, default, ..."""
    whole = schema(kind)
    return {key: resolved(field, whole) for key, field in whole.get("properties", {}).items()}


def allowed(field: Mapping[str, Any]) -> str:
    """The values of a field in words: ``1 or more``, ``auto, wall or asof``, ``a number above 0``; empty for any."""
    if "description" in field and "properties" not in field:
        samples = ", ".join(map(str, field.get("examples", ())))
        return f"{field['description']}, such as {samples}" if samples else str(field["description"])
    if choices := field.get("enum") or ([field["const"]] if "const" in field else []):
        return " or ".join(filter(None, [", ".join(map(str, choices[:-1])), str(choices[-1])]))
    if field.get("type") == "array":
        item = field.get("items", {})
        if item.get("type") not in ("integer", "number") or not (each := allowed(item)):
            return allowed(item)
        return f"numbers {each.removeprefix('a number ')}" if each.startswith("a number ") else f"numbers of {each}"
    return _range(field)


def _range(field: Mapping[str, Any]) -> str:
    least, most = field.get("minimum"), field.get("maximum")
    above, below = field.get("exclusiveMinimum"), field.get("exclusiveMaximum")
    if above is not None and below is not None:
        return f"a number between {above:g} and {below:g}"
    lower = f"above {above:g}" if above is not None else f"from {least:g}" if least is not None else ""
    upper = f"below {below:g}" if below is not None else f"up to {most:g}" if most is not None else ""
    if least is not None and most is not None:
        return f"a number from {least:g} to {most:g}"
    if lower and upper:
        return f"a number {lower} and {upper}"
    if least is not None:
        return f"{least:g} or more"
    if most is not None:
        return f"{most:g} or less"
    return f"a number {lower or upper}" if lower or upper else ""


def unknown(name: str, known: Collection[str], what: str) -> str:
    """That there is no ``what`` (key, section) called ``name``, with the nearest name or else all of them."""
    near = difflib.get_close_matches(name, list(known), n=1)
    hint = f"Did you mean {near[0]!r}?" if near else f"The {what}s are: {', '.join(known)}."
    return f"{name!r} is not a known {what}. {hint}"
