"""The documentation is true: what it names exists, what it shows works, what is generated is current."""

from __future__ import annotations

import json
import re
import sqlite3

import pytest

import stages
from narrows.cli.airflow.workflow import ROOT
from narrows.cli.main import build_parser
from narrows.cli.reference.pages import descriptions, pages, write
from narrows.pipeline import Pipeline
from narrows.serving.schema import ddl
from narrows.settings import SECTIONS, load_settings
from narrows.stage import settings_of
from stages.recall.channels import CHANNELS

PIPELINE = Pipeline.of(stages.PIPELINE)

README = (ROOT / "README.md").read_text(encoding="utf-8")
DECISIONS = sorted((ROOT / "docs" / "decisions").iterdir())
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\(([^()\s]+)\)")
ROOM_LINK = re.compile(r"\[\**(\w+)\**\]\(stages/(\w+)/\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def fenced(text: str, language: str) -> list[str]:
    return [code for kind, code in FENCE.findall(text) if kind == language]


def slugs(text: str) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    heads = re.findall(r"^#+ (.*)", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@every_page
def test_links_lead_somewhere(page):
    for target in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        path, _, anchor = target.partition("#")
        if "://" not in target:
            file = (page.parent / path).resolve() if path else page
            assert file.exists(), f"{page}: {target}"
            assert not anchor or anchor in slugs(file.read_text(encoding="utf-8")), f"{page}: {target}"


@every_page
def test_paths_exist(page):
    named = re.findall(r"`((?:stages|features|dags|infra|docs|tests)/[\w./-]*)`", page.read_text(encoding="utf-8"))
    assert not [path for path in named if not (ROOT / path).exists()]


@every_page
def test_verbs_of_make_exist(page):
    code = re.findall(r"`[^`\n]+`", page.read_text(encoding="utf-8")) + fenced(page.read_text(encoding="utf-8"), "sh")
    verbs = set(re.findall(r"\bmake ([a-z]+)", "\n".join(code)))
    assert verbs <= set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@every_page
def test_commands_exist(page):
    code = re.findall(r"`[^`\n]+`", page.read_text(encoding="utf-8")) + fenced(page.read_text(encoding="utf-8"), "sh")
    named = set(re.findall(r"(?:^|[`/])narrows ([a-z]+)", "\n".join(code), re.MULTILINE))
    assert named <= commands()


def commands() -> set[str]:
    (found,) = (set(action.choices) for action in build_parser(PIPELINE)._actions if action.dest == "command")
    return found


def test_every_command_has_its_section():
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert {f"narrows-{name}" for name in commands()} <= slugs(text)


def test_the_readme_draws_every_room_in_order_then_lists_it():
    assert ROOM_LINK.findall(README) == [(name, name) for name in PIPELINE.names] * 2


@pytest.mark.parametrize("name", PIPELINE.narrowing)
def test_the_readme_says_how_many_a_room_keeps(name):
    row = next(line for line in README.splitlines() if line.startswith(f"| [**{name}**]"))
    assert [int(number) for number in re.findall(r"\d+", row)] == [settings_of(PIPELINE.room(name)())["n"]]


@pytest.mark.parametrize("name", PIPELINE.names)
def test_the_readme_says_what_a_room_reads(name):
    row = next(line for line in README.splitlines() if line.startswith(f"| [{name}](stages/{name}/)"))
    assert set(re.findall(r"`(\w+)`", row.split("|")[2])) == set(PIPELINE.inputs(name))


def test_the_settings_in_the_readme_are_accepted(tmp_path):
    shown = fenced(README, "toml")
    assert shown
    for number, text in enumerate(shown):
        file = tmp_path / f"{number}.toml"
        file.write_text(text)
        load_settings(file, {})
    (tmp_path / "empty.toml").touch()
    variables = dict(re.findall(r"(NARROWS_\w+)=(\S+)", "\n".join(fenced(README, "sh"))))
    assert variables
    load_settings(tmp_path / "empty.toml", variables)


def test_the_queries_in_the_readme_run():
    shown = fenced(README, "sql")
    assert shown
    database = sqlite3.connect(":memory:")
    database.executescript(ddl("sqlite"))
    for query in shown:
        database.execute(query)


@pytest.mark.parametrize("number", range(1, len(DECISIONS) + 1))
def test_decisions_are_numbered_in_order_and_have_one_shape(number):
    file = DECISIONS[number - 1]
    assert re.fullmatch(rf"{number:04d}-[a-z0-9-]+\.md", file.name)
    text = file.read_text(encoding="utf-8")
    assert re.match(rf"# {number}\. \S", text)
    assert re.findall(r"^## (.*)", text, re.MULTILINE) == ["Status", "Context", "Decision", "Consequences"]
    assert re.search(r"^## Status\n\n(Proposed|Accepted|Superseded)", text, re.MULTILINE)


def test_the_architecture_page_lists_the_framework():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`narrows/.*?) \|", text, re.MULTILINE)
    listed = {place for row in rows for place in re.findall(r"`(narrows/[\w./]+)`", row)}
    there = {
        path for path in (ROOT / "narrows").iterdir() if path.name not in ("__pycache__", "__init__.py", "__main__.py")
    }
    assert listed == {f"narrows/{path.name}{'/' * path.is_dir()}" for path in there}


def test_the_channels_page_explains_every_channel_and_its_settings():
    text = (ROOT / "docs" / "channels.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| \[`(\w+)`\]\(#(\w+)\) \| Proposes .+\. \| `\w+`: .+ \|", text, re.MULTILINE)
    assert listed == [(name, name) for name in CHANNELS]
    for name, kind in CHANNELS.items():
        section = text.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        for key, meaning in descriptions(kind).items():
            assert meaning, f"channel {name}: {key} has no description"
            assert re.search(rf"^\| `{key}` \| `.+` \| .+ \|$", section, re.MULTILINE), f"{name}: {key} is missing"


@pytest.mark.parametrize("name", ["settings.md", "channels.md", "cli.md", "tables.md", "features.md"])
def test_generated_pages_are_current(name):
    file = ROOT / "docs" / name
    assert file.exists(), "run `make docs`"
    assert file.read_text(encoding="utf-8") == pages()[name], "run `make docs`"


def test_writing_the_pages_again_changes_nothing(tmp_path):
    assert {file.name for file in write(tmp_path)} == set(pages())
    assert write(tmp_path) == []


@pytest.mark.parametrize("name", [*SECTIONS, *PIPELINE.names])
def test_every_setting_is_explained(name):
    kind = (SECTIONS | {room.name: room for room in PIPELINE.rooms})[name]
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    section = page.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
    for key, text in descriptions(kind).items():
        assert text, f"[{name}] {key} has no description"
        assert re.search(rf"^\| `{key}` \| `.+` \| .+ \|$", section, re.MULTILINE), f"[{name}] {key} is not in the page"


def test_pages_name_no_place_on_a_machine():
    """Paths start at the repository or the state folder."""
    for page in PAGES:
        assert not re.search(r"(?<![\w.:/-])/(?:home|tmp|root|Users|work)/", page.read_text(encoding="utf-8")), page


def test_the_columns_on_the_page_are_those_of_a_run(line):
    from narrows.cli.reference import columns as columns_reference

    rooms = line.runner.pipeline.names
    assert json.loads(columns_reference.FILE.read_text()) == columns_reference.columns(
        line.runner.store, line.asof, rooms
    )
