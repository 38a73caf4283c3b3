"""The rules of a list: read from ``policy.toml``, checked, and kept as JSON, versioned like a model."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass

from narrows.config.origins import read_toml
from narrows.config.refusal import Refusal, validated
from narrows.settings import SettingsError

FILE = "policy.json"
STRICT = ConfigDict(extra="forbid", frozen=True)
Text = Annotated[str, Field(description='names and ids as text, "1" and not 1')]
Count = Annotated[int, Field(ge=0, description="a whole number, 0 or more")]
Factor = Annotated[
    float, Field(gt=0, allow_inf_nan=False, description="a factor above 0 (1 = no change, 2 = twice the score)")
]


class PolicyError(SettingsError):
    """A rule is wrong; the message names the file, the key and the remedy."""


@dataclass(frozen=True, config={"extra": "forbid"})
class Pin:
    """One item at one position of the lists of a scene and a segment."""

    item: Text
    position: int = Field(ge=1, description="a whole number, 1 or more")
    """1 = top of the list."""
    scene: Text = ""
    """Empty: every scene."""
    segment: Text = ""
    """Empty: every segment, and users of none."""


class _Length(BaseModel):
    model_config = STRICT
    minimum: Count = 0


class _Cap(BaseModel):
    model_config = STRICT
    default: Count = 0
    categories: dict[str, Count] = {}


class _Block(BaseModel):
    model_config = STRICT
    items: list[Text] = []
    categories: list[Text] = []
    brands: list[Text] = []


class _Boost(BaseModel):
    model_config = STRICT
    items: dict[str, Factor] = {}
    categories: dict[str, Factor] = {}
    brands: dict[str, Factor] = {}


class _File(BaseModel):
    """``policy.toml``."""

    model_config = STRICT
    list: _Length = _Length()
    cap: _Cap = _Cap()
    block: _Block = _Block()
    boost: _Boost = _Boost()
    pin: tuple[Pin, ...] = ()


@dataclass(frozen=True)
class Policy:
    """What a list must obey. ``Policy()`` has no rules."""

    minimum: int = 0
    """Lists shorter than this are filled with items that a cap held back."""
    cap: int = 0
    """Most items of one category in a list; 0 = no cap. Items without a category are never capped."""
    category_caps: dict[str, int] = Field(default_factory=dict)
    """Caps of single categories, in place of ``cap``; 0 = no cap."""
    block: dict[str, list[str]] = Field(default_factory=dict)
    """Never shown: the blocked ``items``, ``categories`` and ``brands``."""
    boost: dict[str, dict[str, float]] = Field(default_factory=dict)
    """Factors on the score by ``items``, ``categories`` and ``brands``; several that fit multiply."""
    pins: tuple[Pin, ...] = ()

    def save(self, folder: Path) -> None:
        """Write ``policy.json`` into ``folder``."""
        text = json.dumps(asdict(self), indent=1, sort_keys=True, ensure_ascii=False)
        (folder / FILE).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Policy:
        """The policy that ``save`` wrote to ``folder``."""
        return TypeAdapter(cls).validate_json((folder / FILE).read_bytes())

    @classmethod
    def read(cls, path: Path) -> Policy:
        """Parse ``policy.toml``.

        Raises:
            PolicyError: the file is missing, not TOML, or has an unknown key, a wrong type or value.
        """
        remedy = "Give the path of your policy in [rerank] policy, or set it to '' for lists without rules."
        try:
            rules = validated(_File, read_toml(path, remedy))
        except SettingsError as error:
            raise PolicyError(str(error)) from error
        except Refusal as refusal:
            raise PolicyError(f"{path}: {refusal}") from refusal
        return cls(
            minimum=rules.list.minimum,
            cap=rules.cap.default,
            category_caps=rules.cap.categories,
            block=rules.block.model_dump(exclude_unset=True),
            boost=rules.boost.model_dump(exclude_unset=True),
            pins=rules.pin,
        )
