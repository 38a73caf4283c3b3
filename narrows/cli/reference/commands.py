"""The page docs/cli.md: every command with its arguments and examples, and what an exit status means."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator

from narrows.cli.status import MEANINGS

MADE = "Made by `make docs` from {}; a test holds the two equal."


def commands_page(parser: argparse.ArgumentParser) -> str:
    """Every command with its arguments, and the examples of ``narrows --help``."""
    lines = [
        "# Commands",
        "",
        MADE.format("the commands in `narrows/cli/`"),
        "",
        "Results go to standard output, progress to standard error. With `--json` a command prints one JSON value, for a "
        "program: every command but those that start services, serve pages or make a script.",
        "",
        "## Exit status",
        "",
        "| status | means | then |",
        "|---|---|---|",
        *(f"| {code} | {what} | {then} |" for code, (what, then) in MEANINGS.items()),
        "",
        "A task of the DAG tries a room again that ended with 75, each time after a longer wait, and none that ended otherwise.",
        "",
        "## Before the command",
        "",
        "As in `narrows --file FILE COMMAND`:",
        "",
        *_table(list(_rows([action for action in parser._actions if not _subcommands(action)]))),
    ]
    for action in parser._actions:
        for name, command in _subcommands(action).items():
            lines += _command(f"narrows {name}", command)
    lines += ["## Examples", "", "```text", _examples(parser), "```", ""]
    return "\n".join(lines)


def _command(name: str, command: argparse.ArgumentParser) -> list[str]:
    if actions := [_subcommands(action) for action in command._actions if action.metavar == "ACTION"]:
        below = [line for each, made in actions[0].items() for line in _command(f"{name} {each}", made)]
        head = [f"## {name}", "", plain(command.description or ""), ""]
        return head + [f"#{line}" if line.startswith("## ") else line for line in below]
    about, usage, rows = plain(command.description or ""), [name], []
    for action in sorted(command._actions, key=lambda each: bool(each.option_strings)):  # as one types them
        if rooms := _subcommands(action):
            shared = [each for each in next(iter(rooms.values()))._actions if not each.dest.startswith("set_")]
            usage += [str(action.metavar), *filter(None, map(_usage, shared)), "[--SETTING VALUE ...]"]
            rows += [(f"`{action.metavar}`", ", ".join(f"`{room}`" for room in rooms)), *_rows(shared)]
            rows.append(("`--SETTING`", "any setting of the room, see [settings](settings.md)"))
        else:
            usage += filter(None, [_usage(action)])
            rows += _rows([action])
    lines = [f"## {name}", "", about, "", "```text", " ".join(usage), "```", ""]
    lines += _table(rows)
    return lines + (["```text", _examples(command), "```", ""] if command.epilog else [])


def _examples(parser: argparse.ArgumentParser) -> str:
    """What is below the arguments in ``--help``."""
    return re.sub("^  ", "", (parser.epilog or "").removeprefix("examples:\n"), flags=re.MULTILINE).strip()


def _subcommands(action: argparse.Action) -> dict[str, argparse.ArgumentParser]:
    return dict(action.choices) if isinstance(action, argparse._SubParsersAction) else {}


def _rows(actions: list[argparse.Action]) -> Iterator[tuple[str, str]]:
    for action in actions:
        if action.dest != "help":
            yield f"`{_word(action)}`", plain(action.help or "")


def _word(action: argparse.Action) -> str:
    """``USER`` or ``--scene SCENE``."""
    value = str(action.metavar or action.dest.upper())
    return " ".join([*action.option_strings[-1:], *([value] if action.nargs != 0 else [])])


def _usage(action: argparse.Action) -> str:
    if action.dest == "help":
        return ""
    return _word(action) if action.required else f"[{_word(action)}]"


def _table(rows: list[tuple[str, str]]) -> list[str]:
    lines = [f"| {word} | {text} |" for word, text in rows]
    return ["| argument | meaning |", "|---|---|", *lines, ""] if lines else []


def plain(text: str) -> str:
    """A docstring as one line of Markdown that may stand in a table."""
    text = re.sub(r"``(.+?)``", r"`\1`", " ".join(text.split()))
    return text.replace("|", r"\|")
