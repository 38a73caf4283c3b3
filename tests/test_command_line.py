"""The command line: version, completion, mistyped words, exit statuses, JSON, a reader that goes away, ``list``."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest

import narrows.version
import stages
from narrows.asof import Asof
from narrows.cli import completion, rooms, status
from narrows.cli.commands import COMMANDS
from narrows.cli.layout import cut
from narrows.cli.main import build_parser, main
from narrows.pipeline import Pipeline
from narrows.store.partitions import Store
from tests.paths import ROOT

PIPELINE = Pipeline.of(stages.PIPELINE)
NO_JSON = {"completion", "demo", "init", "ui", "up", "down"}
"""Commands whose output no program reads."""


def refused(capsys, *argv: str) -> str:
    """The first line of what a wrong use is answered with."""
    with pytest.raises(SystemExit) as end:
        main(list(argv))
    assert end.value.code == status.WRONG_USE
    said = capsys.readouterr()
    assert said.out == ""
    line, advice = said.err.splitlines()
    assert advice == f"Help: {line.partition(':')[0]} --help"
    return line


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("reprot", "there is no 'reprot'; did you mean 'report'?"),
        ("xyz", "there is no 'xyz'. There are: demo, world, init, doctor, list,"),
        ("show 1 --jsn", "there is no flag --jsn; did you mean '--json'?"),
        ("run --asfo 2017-11-30", "there is no flag --asfo; did you mean '--asof'?"),
        ("run --asfo=2017-11-30", "there is no flag --asfo; did you mean '--asof'?"),
        ("transform recal --asof 2017-11-30", "there is no 'recal'; did you mean 'recall'?"),
        ("fit rank --embeding-size 3 --asof 2017-11-30", "there is no flag --embeding-size; did you mean '--embedding-size'?"),
        ("fit events --asof 2017-11-30", "there is no 'events'. There are: recall, prerank, rank, rerank"),
        ("report --file x", "there is no flag --file; it goes before the command: narrows --file ... report"),
        ("--log-level wrning list", "there is no 'wrning'; did you mean 'warning'?"),
        ("show", "the following arguments are required: user"),
        ("completion fish", "there is no 'fish'. There are: bash, zsh"),
    ],
)  # fmt: skip
def test_what_is_mistyped_is_answered_with_what_it_may_have_been(capsys, typed, says):
    assert says in refused(capsys, *typed.split())


def test_a_flag_may_be_shortened_and_a_user_may_begin_with_dashes():
    parser = build_parser(PIPELINE)
    assert parser.parse_args(["show", "1", "--js"]).json is True
    assert parser.parse_args(["show", "--", "--jsn"]).user == "--jsn"
    assert parser.parse_args(["--fil", "x", "list"]).file == Path("x")


def test_the_version_names_the_code_and_python(capsys, monkeypatch):
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert not end.value.code
    line = capsys.readouterr().out.strip()
    assert re.fullmatch(
        r"narrows \S+( \(commit [0-9a-f]{12}\+?\))?, Python " + re.escape(platform.python_version()), line
    )
    monkeypatch.setattr(narrows.version, "__file__", "/nowhere/at/all/version.py")
    narrows.version.commit.cache_clear()
    assert narrows.version.commit() == ""
    narrows.version.commit.cache_clear()


def completed(line: str, folder: Path) -> set[str]:
    """What a shell is offered for a line."""
    answers = folder / "answers"
    environment = os.environ | {
        "_ARGCOMPLETE": "1", "COMP_LINE": line, "COMP_POINT": str(len(line)), "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(answers), "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    command = [sys.executable, "-m", "narrows"]
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    return {word.strip() for word in answers.read_text().split("\n")}


def test_the_tab_key_completes_commands_rooms_and_flags(tmp_path):
    assert completed("narrows re", tmp_path) == {"report"}
    assert completed("narrows fit re", tmp_path) == {"recall", "rerank"}
    assert {"--json", "--scene"} <= completed("narrows show 1 --", tmp_path)


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_the_script_of_a_shell_names_the_command(shell, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "_ARGCOMPLETE=1" in script
    assert "narrows" in script
    if shell == "bash":
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def test_every_command_has_json_examples_and_its_own_help():
    for name, command in COMMANDS.items():
        parser = build_parser(PIPELINE)
        (sub,) = (a.choices[name] for a in parser._actions if a.dest == "command")
        flags = [flag for action in sub._actions for flag in action.option_strings]
        (inner,) = [action for action in sub._actions if action.dest in ("room", "action")] or [None]
        for one in inner.choices.values() if inner else ():
            assert "--json" in one._option_string_actions, name
        assert ("--json" in flags) is (name not in NO_JSON and inner is None), name
        assert command.text.endswith(".")
        for typed, what in command.examples:
            assert "narrows" in typed
            assert what


def test_the_page_lists_every_exit_status_that_the_code_gives():
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    table = page.partition("## Exit status")[2].partition("\n## ")[0]
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)}
    assert listed == set(status.MEANINGS)
    for file in (ROOT / "narrows" / "cli").glob("*.py"):
        code = file.read_text(encoding="utf-8")
        given = {int(n) for n in re.findall(r"(?:\breturn|sys\.exit\(|\.exit\() ?(\d+)\b(?!\.)", code)}
        assert given <= listed, file


PRINTS = """
import sys
from narrows.cli import commands, main
from dataclasses import replace

def prints(settings, args):
    for _ in range(100_000):
        print("a line of a list")
    return 0

commands.COMMANDS["list"] = replace(commands.COMMANDS["list"], run=prints)
sys.argv = ["narrows", "list"]
sys.exit(main.command())
"""


def test_a_reader_that_goes_away_is_no_error(tmp_path):
    command = [sys.executable, "-c", PRINTS]
    pipe = subprocess.PIPE
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "a line of a list\n"
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == status.NO_READER


def test_another_broken_pipe_keeps_its_traceback():
    assert not status.reader_has_gone()


def partition(store: Store, room: str, day: str, **notes: object) -> None:
    """An empty partition."""
    asof = Asof.parse(day)
    meta = {"fingerprint": "f" * 64, "rows": 5, "notes": notes}
    store.publish(room, asof, store.draft(room, asof, "f" * 64), meta)


def test_list_says_what_later_dates_are_for(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NARROWS_SOURCE__HORIZON", "7d")
    assert main(["list"]) == 0
    assert "newest: nothing has lists yet" in capsys.readouterr().out
    store = Store(tmp_path / "var" / "tables")
    for room in PIPELINE.names[:-1]:
        partition(store, room, "2017-11-30", ends="2017-11-30", goes_on=True)
    for day, ends in (("2017-12-07", "2017-12-07"), ("2018-01-20", "2017-12-31"), ("2017-12-03", "2017-12-03")):
        partition(store, "events", day, ends=ends, goes_on=False)
    assert main(["list"]) == 0
    table, _, legend = capsys.readouterr().out.partition("\n\n")
    assert all(len(line) <= 100 for line in table.splitlines())
    events = next(line for line in table.splitlines() if line.startswith("events"))
    assert events.split()[2:] == ["2017-11-30", "5", "4"]  # not what was refused
    assert legend.splitlines() == [
        "newest: as of the newest lists (2017-11-30), or before them; parts: all dates there are",
        "events has 2017-12-03 too: no lists: the run has not come to them, or did not end well",
        "events has 2017-12-07 too: the horizon that the lists as of 2017-11-30 are judged on",
        "events has 2018-01-20 too: no lists: the as-of was refused, for the source ends with 2017-12-31",
        "evaluation has no 2017-11-30 yet: lists are judged when their horizon, until 2017-12-07, has closed",
    ]
    assert main(["list", "--json"]) == 0
    rows = {row["room"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["events"]["later"] == [
        {"asof": "2017-12-03", "why": "unfinished", "of": ""},
        {"asof": "2017-12-07", "why": "horizon", "of": "2017-11-30"},
        {"asof": "2018-01-20", "why": "refused", "of": "2017-12-31"},
    ]
    assert rows["evaluation"]["waits_for"] == "2017-12-07"
    for width in (80, 100):
        assert all(len(line) <= width for line in rooms.lines(list(rows.values()), "2017-11-30", width))


def test_a_cut_text_is_marked():
    assert cut("abc", 3) == "abc"
    assert cut("abcd", 3) == "ab…"


def test_the_catalogue_as_json_has_every_feature(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["catalogue", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    page = (ROOT / "docs" / "features.md").read_text(encoding="utf-8")
    assert len(rows) > 50
    assert all(f"| `{row['feature']}` | {row['definition']} |" in page for row in rows)
