"""policy.toml: what it says is what holds, and a mistake is one clear line."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from stages.rerank import Rerank
from stages.rerank.policy import Pin, Policy, PolicyError

ROOT = Path(__file__).parents[2]


def read(folder: Path, text: str) -> Policy:
    path = folder / "policy.toml"
    path.write_text(text)
    return Policy.read(path)


def test_everything_that_can_be_said(tmp_path):
    policy = read(
        tmp_path,
        """
        list.minimum = 5
        cap.default = 3
        cap.categories = { "A" = 1, "B" = 0 }
        block = { items = ["1"], categories = ["C"], brands = ["x"] }
        boost.items = { "2" = 1.5 }
        boost.brands = { "y" = 2 }
        [[pin]]
        item = "4711"
        position = 3
        segment = "families"
        """,
    )
    assert policy == Policy(
        minimum=5,
        cap=3,
        category_caps={"A": 1, "B": 0},
        block={"items": ["1"], "categories": ["C"], "brands": ["x"]},
        boost={"items": {"2": 1.5}, "brands": {"y": 2.0}},
        pins=(Pin("4711", 3, segment="families"),),
    )
    policy.save(tmp_path)
    assert Rerank().load(tmp_path) == policy


def test_the_shipped_policy_is_sound():
    assert Policy.read(ROOT / "policy.toml") == Policy(
        minimum=20,
        cap=10,
        block={"items": [], "categories": [], "brands": []},
        boost={"items": {}, "categories": {}, "brands": {}},
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[caps]", "'caps' is not a known section. Did you mean 'cap'?"),
        ("[cap]\ndefalt = 1", r"\[cap\] 'defalt' is not a known key. Did you mean 'default'?"),
        ("[cap]\ndefault = -1", r"\[cap\] default = -1: give a whole number, 0 or more"),
        ("[cap]\ndefault = true", r"\[cap\] default = True has the wrong type: give a whole number"),
        ("[cap.categories]\nA = 1.5", r"\[cap.categories\] A = 1.5 has the wrong type: give a whole number, 0 or more"),
        (
            "[block]\nitems = [1]",
            r"\[block\] items = \[1\] has the wrong type: give names and ids as text, \"1\" and not 1",
        ),
        ("[block]\nitems = '1'", r"\[block\] items = '1' has the wrong type: give a list"),
        ("[boost]\nitems = 2", r"\[boost\] items = 2 has the wrong type"),
        ("[boost.items]\n1 = 0", r"\[boost.items\] 1 = 0: give a factor above 0"),
        ("[boost.items]\n1 = nan", r"\[boost.items\] 1 = nan: give a factor above 0"),
        ("[[pin]]\nitem = '1'", r"\[\[pin\]\] number 1 has no position: add one"),
        (
            "[[pin]]\nitem = '1'\nposition = 0",
            r"\[\[pin\]\] number 1 position = 0: give a whole number, 1 or more",
        ),
        ("[pin]\nitem = '1'", r"must be written \[\[pin\]\]"),
        ("list = 3", r"list must be a section: write \[list\]"),
        ("[list", "not valid TOML"),
    ],
)
def test_a_mistake_names_the_file_the_key_and_the_remedy(tmp_path, text, message):
    with pytest.raises(PolicyError, match=message) as caught:
        read(tmp_path, text)
    assert str(tmp_path / "policy.toml") in str(caught.value)


def test_the_file_lies_beside_narrows_toml_and_none_is_no_rules(tmp_path):
    here = SimpleNamespace(base=tmp_path)
    assert Rerank().files(tmp_path) == []
    assert Rerank().fit(here) == Policy()
    with pytest.raises(PolicyError, match=f"{tmp_path}/mine.toml: there is no such file"):
        Rerank(policy="mine.toml").fit(here)
    assert Rerank(policy="").fit(here) == Policy()
    policy = read(tmp_path, "cap.default = 7")
    assert Rerank().fit(here) == policy == Policy(cap=7)
    assert Rerank().files(tmp_path) == [tmp_path / "policy.toml"]
    assert Rerank(policy="").files(tmp_path) == []


def test_settings_are_checked():
    for wrong in (
        {"n": 0},
        {"epsilon": 1.5},
        {"diversity": -0.1},
        {"explore_position": 21},
        {"brand_weight": -1.0},
    ):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Rerank(**wrong)
