"""Which edits of the code make which tables again: recipes of a copy of the code, before and after an edit."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from narrows.run.code import Code, normalised
from tests.paths import ROOT

RECIPES = """
import json, sys
from narrows.run.fingerprint import Recipes
from narrows.settings import load_settings
settings = load_settings(env=dict(pair.split("=", 1) for pair in sys.argv[1:]))
print(json.dumps({name: Recipes(settings).of(name) for name in settings.pipeline.names}))
"""
ROOMS = (
    "events", "user_profiles", "item_profiles", "examples", "recall", "prerank", "rank", "rerank", "recommendations", "evaluation",
)  # fmt: skip
FLOW = {"examples", "prerank", "rank", "rerank", "recommendations", "evaluation"}
"""What learns from examples, or reads what does."""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("code")
    for package in ("narrows", "stages", "features"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def recipes(folder: Path, *env: str) -> dict[str, str]:
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", RECIPES, *env]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def before(copy: Path) -> dict[str, str]:
    found = recipes(copy)
    assert tuple(found) == ROOMS
    assert len(set(found.values())) == len(ROOMS)
    return found


def changed(copy: Path, before: dict[str, str], file: str, old: str, new: str) -> set[str]:
    """The rooms whose recipe an edit changes; the edit is taken back."""
    path = copy / file
    text = path.read_text()
    assert old in text, f"{file} has no {old!r}"
    path.write_text(text.replace(old, new, 1))
    try:
        after = recipes(copy)
    finally:
        path.write_text(text)
    return {name for name in before if before[name] != after[name]}


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("stages/prerank/trees.py", '"""', '"""Said otherwise. '),
        ("features/lookup.py", '"""', '"""Said otherwise. '),
        ("narrows/asof.py", '    """The cut for Arrow', '    # a comment\n    """The cut, said otherwise, for Arrow'),
        ("stages/events/clean.py", "\n\n\n", "\n\n\n\n\n"),
        ("narrows/run/publish.py", "def publish_again", "def added(self):\n        return 1\n\n    def publish_again"),
        ("narrows/settings.py", "FILE = ", "UNUSED = 1\nFILE = "),
    ],
)
def test_what_changes_no_row_remakes_nothing(copy, before, file, old, new):
    assert changed(copy, before, file, old, new) == set()


def test_a_new_pair_feature_remakes_examples_and_what_follows(copy, before):
    feature = (
        '@feature\ndef brand_new(pairs: Pairs) -> Array:\n    """One."""\n    return pairs.of_user("events")\n\n\n'
    )
    first = "@feature\ndef user_variety("
    assert changed(copy, before, "features/pair/user.py", first, feature + first) == FLOW


def test_an_edit_of_the_cut_remakes_everything(copy, before):
    edited = changed(copy, before, "narrows/asof.py", "ds.field(KNOWN) <= str(asof)", "ds.field(KNOWN) < str(asof)")
    assert edited == set(ROOMS)


def test_an_edit_of_the_sampling_remakes_what_narrows_and_what_is_forecast(copy, before):
    edited = changed(copy, before, "narrows/sampling.py", "LIKELY_SHARE = 0.8", "LIKELY_SHARE = 0.7")
    assert edited == FLOW | {"recall", "item_profiles"}


def test_an_edit_of_a_room_remakes_it_and_what_follows(copy, before):
    edited = changed(copy, before, "stages/evaluation/metrics.py", "def coverage", "UNUSED = 1\n\n\ndef coverage")
    assert edited == {"evaluation"}
    edited = changed(copy, before, "stages/rank/net.py", "class ", "UNUSED = 1\n\n\nclass ")
    assert edited == FLOW, "examples read what rank did for earlier partitions"


def test_settings_time_and_plug_ins_count(copy, before):
    def differ(*env: str) -> set[str]:
        after = recipes(copy, *env)
        return {name for name in before if before[name] != after[name]}

    assert differ("NARROWS_EVALUATION__RESAMPLES=7") == {"evaluation"}
    assert differ("NARROWS_SOURCE__HORIZON=1d") == set(ROOMS)
    assert differ("NARROWS_PIPELINE__WINDOWS=3") == FLOW - {"examples"} | {"prerank"}
    sampled = FLOW - {"examples"} | {"recall"}  # examples have the version of what they read
    assert differ("NARROWS_PIPELINE__FLOW_USERS=7") == sampled
    assert differ("NARROWS_RECOMMENDATIONS__AUDIENCE=3") == sampled
    (copy / "mine.py").write_text(
        'from features.pair import feature\n\n\n@feature\ndef mine(pairs):\n    """M."""\n    return pairs.user\n'
    )
    try:
        assert differ('NARROWS_PIPELINE__IMPORTS=["mine"]') == FLOW
    finally:
        (copy / "mine.py").unlink()


def test_a_module_reaches_what_it_imports_anywhere_but_for_type_checking():
    code = Code(frozenset({"stages", "features", "narrows"}))
    reached = code.of("stages.prerank")
    assert {"stages.prerank", "stages.prerank.trees", "features.pair", "features.lookup", "narrows.asof"} <= set(
        reached
    )
    assert not {"narrows.settings", "narrows.run.runner", "stages.recall"} & set(reached)
    assert "features.pair" not in code.of("stages.recall") or "stages.recall.channels" in code.of("stages.recall")
    assert not {
        name for name in code.of("stages.user_profiles") if name.startswith("stages.") and "user_profiles" not in name
    }


def test_a_module_of_ones_own_reaches_what_it_imports_relatively(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    files = {
        "__init__": "",
        "adults": "from . import rules\nfrom .limits import most\n",
        "rules": "",
        "limits": "most = 3\n",
    }
    (tmp_path / "shop").mkdir()
    for name, text in files.items():
        (tmp_path / "shop" / f"{name}.py").write_text(text)
    assert {"shop.adults", "shop.rules", "shop.limits"} <= set(Code(frozenset({"shop"})).of("shop.adults"))


def test_what_was_parsed_is_kept_by_its_content(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "lone_room.py").write_text("a = 1\n")
    packages, kept = frozenset({"lone_room"}), tmp_path / "var/code.json"
    first = Code(packages, kept).of("lone_room")
    with monkeypatch.context() as without:
        without.setattr("ast.parse", None)
        assert Code(packages, kept).of("lone_room") == first
    (tmp_path / "lone_room.py").write_text("a = 2\n")
    assert Code(packages, kept).of("lone_room") == Code(packages).of("lone_room") != first
    kept.write_text("{broken")
    (tmp_path / "lone_room.py").write_text("a = 1\n")
    assert Code(packages, kept).of("lone_room") == first


def test_normalised_source_keeps_behaviour_alone():
    import ast

    one = 'x = 1  # why\n\n\ndef f():\n    """Says."""\n    return "kept"\n'
    two = '"""M."""\nx = 1\n"""Of x."""\n\ndef f():\n    return "kept"\n'
    assert normalised(ast.parse(one)) == normalised(ast.parse(two))
    assert normalised(ast.parse(one)) != normalised(ast.parse(two.replace("kept", "other")))
