"""The command ``completion``: the tab key in bash and zsh."""

from __future__ import annotations

import argparse
from argparse import Namespace
from typing import TYPE_CHECKING

from narrows.cli.command import Command
from narrows.pipeline import Pipeline

if TYPE_CHECKING:
    from narrows.settings import Settings

SHELLS = ("bash", "zsh")


def completion(settings: Settings, args: Namespace) -> int:
    """The script for a shell; it asks ``narrows`` itself, so that the rooms are those of your pipeline."""
    import argcomplete

    print(argcomplete.shellcode(["narrows"], shell=args.shell))
    return 0


def complete(parser: argparse.ArgumentParser) -> None:
    """Answer the shell and end, where it is the shell that asks."""
    import argcomplete

    argcomplete.autocomplete(parser)


def arguments(parser: argparse.ArgumentParser, pipeline: Pipeline) -> None:
    """Of ``completion``."""
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help=" or ".join(SHELLS))


COMMAND = Command(
    "completion", "Print the script that completes commands, rooms and flags with the tab key.", completion, arguments,
    (
        ('eval "$(narrows completion bash)"', "in ~/.bashrc; the same with zsh in ~/.zshrc"),
        ("narrows completion zsh > ~/.zfunc/_narrows", "for who keeps completions in a folder of fpath"),
    ),
)  # fmt: skip
