"""The example configurations are accepted, and their column maps name columns that we know."""

from __future__ import annotations

import re

import pytest

from narrows.settings import load_settings
from narrows.source.files import open_source
from tests.paths import ROOT

EXAMPLES = sorted((ROOT / "examples").iterdir())


def test_there_is_one_for_a_shop_news_and_a_video_site():
    assert [folder.name for folder in EXAMPLES] == ["news", "shop", "video"]


@pytest.mark.parametrize("folder", EXAMPLES, ids=lambda folder: folder.name)
def test_an_example_is_accepted(folder):
    settings = load_settings(folder / "narrows.toml", {})
    assert open_source(settings).settings.name == "files"


@pytest.mark.parametrize("folder", EXAMPLES, ids=lambda folder: folder.name)
def test_what_an_example_sets_is_explained(folder):
    text = (folder / "narrows.toml").read_text(encoding="utf-8")
    assert text.startswith("# A ")
    for section in re.split(r"^\[", text, flags=re.MULTILINE)[1:]:
        if not section.startswith("source"):
            assert "#" in section, section
