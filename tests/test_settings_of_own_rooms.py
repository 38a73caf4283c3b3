"""``[pipeline]``: rooms and plug-ins of your own, found beside ``narrows.toml``, and their settings."""

from __future__ import annotations

import sys

import pytest

from narrows.settings import SettingsError
from tests.test_settings import settings

OWN_ROOMS = """
from typing import Any, ClassVar
from pydantic import Field
from pydantic.dataclasses import dataclass
from narrows.config.refusal import validated
from narrows.stage import TableStage, room
import seen

@dataclass(config={"extra": "forbid"})
class Part:
    quota: int = Field(3, ge=1)

@room
class Shelf(TableStage):
    name: ClassVar[str] = "shelf"
    n: int = Field(3, ge=1)
    color: str = "red"
    parts: dict[str, dict[str, Any]] = Field(default_factory=dict)

    def check(self, settings):
        for name, values in self.parts.items():
            validated(Part, values, ("parts", name))
        if self.color not in seen.COLORS:
            raise ValueError(f"color = {self.color!r}: give {' or '.join(seen.COLORS)}, in {settings.base.name}.")

PIPELINE = (Shelf,)
"""


def test_a_pipeline_of_your_own_lies_beside_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "own_rooms.py").write_text(OWN_ROOMS)
    (tmp_path / "seen.py").write_text("COLORS = ['red']")
    (tmp_path / "own_plugin.py").write_text("import seen\nseen.COLORS.append('blue')")
    own = "[pipeline]\nrooms = 'own_rooms'\n"
    checked = settings(tmp_path, own + "[shelf]\nn = 5")
    assert checked.pipeline.names == ("shelf",)
    assert checked.rooms["shelf"].n == 5
    with pytest.raises(SettingsError, match=r"\[shelf\] n = 0: give 1 or more"):
        settings(tmp_path, own + "[shelf]\nn = 0")
    with pytest.raises(SettingsError, match=r"'rank' is not a known section\. .*: source, .*, shelf"):
        settings(tmp_path, own + "[rank]")
    with pytest.raises(SettingsError, match=rf"narrows.toml: \[shelf\] color = 'blue': give red, in {tmp_path.name}."):
        settings(tmp_path, own + "[shelf]\ncolor = 'blue'")
    blue = settings(tmp_path, own + "imports = ['own_plugin']\n[shelf]\ncolor = 'blue'")
    assert blue.rooms["shelf"].color == "blue", "modules are imported before the checks"


def test_an_installed_package_brings_a_pipeline_under_a_name(tmp_path, monkeypatch):
    """By the entry point of its metadata, as pip leaves it."""
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site"), *sys.path])
    monkeypatch.delitem(sys.modules, "shop_rooms", raising=False)
    about = tmp_path / "site/shop-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: shop\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[narrows.pipelines]\nshop = shop_rooms\n")
    (tmp_path / "site/shop_rooms.py").write_text(OWN_ROOMS)
    (tmp_path / "seen.py").write_text("COLORS = ['red']")
    assert settings(tmp_path, "[pipeline]\nrooms = 'shop'\n").pipeline.names == ("shelf",)


def test_what_a_check_makes_of_a_table_is_refused_with_the_whole_path(tmp_path, monkeypatch):
    """As recall does with the settings of its channels."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "own_rooms", raising=False)
    (tmp_path / "own_rooms.py").write_text(OWN_ROOMS)
    (tmp_path / "seen.py").write_text("COLORS = ['red']")
    own = "[pipeline]\nrooms = 'own_rooms'\n"
    with pytest.raises(SettingsError, match=r"narrows.toml: \[shelf.parts.left\] quota = 0: give 1 or more"):
        settings(tmp_path, own + "[shelf.parts.left]\nquota = 0")
    with pytest.raises(SettingsError, match=r"\[shelf.parts.left\] 'quoat' is not a known key. Did you mean 'quota'"):
        settings(tmp_path, own + "[shelf.parts.left]\nquoat = 1")
    with pytest.raises(
        SettingsError, match=r"variable NARROWS_SHELF__PARTS__LEFT__QUOTA = 'x' has the wrong type: give"
    ):
        settings(tmp_path, own, NARROWS_SHELF__PARTS__LEFT__QUOTA="x")
