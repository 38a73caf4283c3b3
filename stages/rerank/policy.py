"""The rules of a list: read from ``policy.toml``, checked, and kept as JSON, versioned like a model."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

FILE = "policy.json"
SUBJECTS = ("items", "categories", "brands")


class PolicyError(ValueError):
    """A rule is wrong; the message names the file, the key and the remedy."""


@dataclass(frozen=True)
class Pin:
    """One item at one position of the lists of a scene and a segment."""

    item: str
    position: int
    """1 = top of the list."""
    scene: str = ""
    """Empty: every scene."""
    segment: str = ""
    """Empty: every segment, and users of none."""


@dataclass(frozen=True)
class Policy:
    """What a list must obey. ``Policy()`` has no rules."""

    minimum: int = 0
    """Lists shorter than this are filled with items that a cap held back."""
    cap: int = 0
    """Most items of one category in a list; 0 = no cap. Items without a category are never capped."""
    category_caps: dict[str, int] = field(default_factory=dict)
    """Caps of single categories, in place of ``cap``; 0 = no cap."""
    block: dict[str, list[str]] = field(default_factory=dict)
    """Never shown: the blocked ``items``, ``categories`` and ``brands``."""
    boost: dict[str, dict[str, float]] = field(default_factory=dict)
    """Factors on the score by ``items``, ``categories`` and ``brands``; several that fit multiply."""
    pins: tuple[Pin, ...] = ()

    def save(self, folder: Path) -> None:
        """Write ``policy.json`` into ``folder``."""
        text = json.dumps(asdict(self), indent=1, sort_keys=True, ensure_ascii=False)
        (folder / FILE).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Policy:
        """The policy that ``save`` wrote to ``folder``."""
        values = json.loads((folder / FILE).read_text(encoding="utf-8"))
        pins = tuple(Pin(**pin) for pin in values.pop("pins"))
        return cls(**values, pins=pins)

    @classmethod
    def read(cls, path: Path) -> Policy:
        """Parse ``policy.toml``.

        Raises:
            PolicyError: the file is missing, not TOML, or has an unknown key, a wrong type or value.
        """
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise PolicyError(
                f"{path}: there is no such file. Give the path of your policy in [rerank] policy,"
                " or set it to '' for lists without rules."
            ) from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise PolicyError(f"{path}: not valid TOML: {error}. Mend that line.") from error
        return _parse(values, str(path))


def _parse(values: dict[str, Any], file: str) -> Policy:
    _known(values, ("list", "cap", "block", "boost", "pin"), file, "section")
    shape = _section(values, "list", ("minimum",), file)
    cap = _section(values, "cap", ("default", "categories"), file)
    block = _section(values, "block", SUBJECTS, file)
    boost = _section(values, "boost", SUBJECTS, file)
    pins = values.get("pin", [])
    if not isinstance(pins, list) or not all(isinstance(pin, dict) for pin in pins):
        raise PolicyError(f"{file}: [pin] must be written [[pin]], once for every pinned item.")
    return Policy(
        minimum=_count(shape.get("minimum", 0), f"{file}: [list] minimum", 0),
        cap=_count(cap.get("default", 0), f"{file}: [cap] default", 0),
        category_caps=_table(cap.get("categories", {}), f"{file}: [cap] categories", lambda v, w: _count(v, w, 0)),
        block={key: [_text(v, f"{file}: [block] {key}") for v in _list(block, key, file)] for key in block},
        boost={key: _table(boost[key], f"{file}: [boost] {key}", _factor) for key in boost},
        pins=_pins(pins, file),
    )


def _pins(values: list[dict[str, Any]], file: str) -> tuple[Pin, ...]:
    pins = []
    for number, value in enumerate(values, start=1):
        where = f"{file}: [[pin]] number {number}"
        _known(value, ("item", "position", "scene", "segment"), where, "key")
        for key in ("item", "position"):
            if key not in value:
                raise PolicyError(f"{where} has no {key}: add one.")
        texts = {key: _text(value[key], f"{where} {key}") for key in ("item", "scene", "segment") if key in value}
        pins.append(Pin(position=_count(value["position"], f"{where} position", 1), **texts))
    return tuple(pins)


def _section(values: dict[str, Any], name: str, keys: tuple[str, ...], file: str) -> dict[str, Any]:
    value = values.get(name, {})
    if not isinstance(value, dict):
        raise PolicyError(f"{file}: {name} = {value!r} must be a section: write [{name}] and its keys below.")
    _known(value, keys, f"{file}: [{name}]", "key")
    return value


def _known(values: dict[str, Any], allowed: tuple[str, ...], where: str, what: str) -> None:
    for key in values:
        if key not in allowed:
            near = difflib.get_close_matches(key, allowed, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"The {what}s are: {', '.join(allowed)}."
            raise PolicyError(f"{where}: {key!r} is not a known {what}. {hint}")


def _list(section: dict[str, Any], key: str, file: str) -> list[Any]:
    if not isinstance(section[key], list):
        raise PolicyError(f'{file}: [block] {key} = {section[key]!r} has the wrong type: give a list, ["a", "b"].')
    return section[key]


def _table(value: Any, where: str, check: Callable[[Any, str], Any]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise PolicyError(f'{where} = {value!r} has the wrong type: give name = number pairs, {{ "a" = 2 }}.')
    return {key: check(each, f"{where}, {key!r}") for key, each in value.items()}


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise PolicyError(f'{where}: {value!r} has the wrong type: names and ids are text, write "{value}".')
    return value


def _count(value: Any, where: str, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise PolicyError(f"{where} = {value!r}: give a whole number, {least} or more.")
    return value


def _factor(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise PolicyError(f"{where} = {value!r}: give a factor above 0 (1 = no change, 2 = twice the score).")
    return float(value)
