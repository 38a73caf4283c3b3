"""The command line: ``narrows``."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
from pathlib import Path
from typing import Any, NoReturn

from narrows.cli import status
from narrows.cli.command import example_lines
from narrows.cli.commands import COMMANDS
from narrows.cli.suggest import Parser
from narrows.cli.terminal import degrade
from narrows.engine.garbage import rarely_collected
from narrows.pipeline import Pipeline, PipelineError, configured
from narrows.settings import Settings, load_settings

SETTINGS = """Settings come from narrows.toml in the current folder (or --file, or NARROWS_FILE);
NARROWS_SECTION__KEY overrides a key.
"""
AS_WRITTEN = argparse.RawDescriptionHelpFormatter
LEVELS = ("debug", "info", "warning", "error")
COMPLETING = "_ARGCOMPLETE"
"""Set where a shell asks for completions."""


# a thread that waits for others soon sleeps: on a shared machine endless spinning costs several times the work
os.environ.setdefault("GOMP_SPINCOUNT", "100000")


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit status, see `narrows.cli.status`."""
    for stream in (sys.stdout, sys.stderr):
        degrade(stream)
    try:
        parser = build_parser(configured(_file(sys.argv[1:] if argv is None else argv)))
    except PipelineError as error:
        print(f"narrows: {error}", file=sys.stderr)
        return status.WRONG_USE
    if COMPLETING in os.environ:
        from narrows.cli.completion import complete

        complete(parser)
    args = parser.parse_args(argv)
    log_to_stderr(args.log_level)
    from narrows.cli.failures import REMEDIES, away, disk_is_full, mends_itself

    command, settings = COMMANDS[args.command], None
    try:
        if command.reads_settings:
            settings = with_flags(load_settings(args.file), args)
            if getattr(args, "asof", None):
                args.asof = settings.asof(args.asof)
            elif getattr(args, "asof_to_make", False):
                from narrows.cli.check.reach import default_asof

                args.asof = default_asof(settings)
        return command.run(settings, args) or status.OK
    except REMEDIES as error:
        print(f"narrows: {error}", file=sys.stderr)
        return status.TRY_AGAIN if mends_itself(error) else status.WRONG_USE
    except KeyboardInterrupt:
        print("narrows: stopped; the next run goes on from what is published", file=sys.stderr)
        return status.STOPPED
    except Exception as error:
        if not disk_is_full(error):
            if not mends_itself(error):
                raise
            print(f"narrows: {away(error)}", file=sys.stderr)
            return status.TRY_AGAIN
        where = settings.state if settings else Path()
        print(
            f"narrows: no space is left for {where} (or for {tempfile.gettempdir()}). Free some and run again: "
            "the run goes on from what is published",
            file=sys.stderr,
        )
        return status.FAILED


def build_parser(pipeline: Pipeline) -> argparse.ArgumentParser:
    """All commands with their flags; a room's settings are flags of ``fit`` and ``transform``."""
    firsts = tuple(example for command in COMMANDS.values() for example in command.examples[:1])
    parser = Parser(
        prog="narrows", description="A recommendation cascade you can measure.", formatter_class=AS_WRITTEN,
        epilog=f"examples:\n{example_lines(firsts)}\n\n{SETTINGS}",
    )  # fmt: skip
    parser.add_argument("--file", type=Path, help="the settings file (default: narrows.toml here, if there is one)")
    parser.add_argument("--log-level", choices=LEVELS, default="info", help="what progress says (default info)")
    parser.add_argument(
        "--version", action=Version, help="print the version, the commit of the code and Python's version"
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    Parser.before_command = ("--file", "--log-level", "--version")
    for each in COMMANDS.values():
        examples = f"examples:\n{example_lines(each.examples)}" if each.examples else ""
        each.arguments(
            commands.add_parser(
                each.name, help=each.text, description=each.text, epilog=examples, formatter_class=AS_WRITTEN
            ),
            pipeline,
        )
    return parser


class Version(argparse.Action):
    """``--version``; what it prints is looked up only where it is asked for."""

    def __init__(self, option_strings: list[str], dest: str, **given: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, **given)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        from narrows.version import text

        print(text())
        parser.exit()


def with_flags(settings: Settings, args: argparse.Namespace) -> Settings:
    """Settings with the room's flags applied; they are read as TOML values."""
    given = {
        key.removeprefix("set_"): text
        for key, text in vars(args).items()
        if key.startswith("set_") and text is not None
    }
    if not given:
        return settings
    room = args.room.upper()
    return load_settings(
        args.file, {**os.environ, **{f"NARROWS_{room}__{key.upper()}": text for key, text in given.items()}}
    )


def _file(argv: list[str]) -> Path | None:
    """The settings file that the arguments name: its pipeline decides which commands there are."""
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    early.add_argument("--file", type=Path)
    return early.parse_known_args(argv)[0].file


def log_to_stderr(level: str) -> None:
    """Progress and warnings of our own packages to standard error, with colours where that is a terminal."""
    handler: logging.Handler = logging.StreamHandler()
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.logging import RichHandler

        handler = RichHandler(console=Console(stderr=True), show_time=False, show_level=False, show_path=False)
    handler.setFormatter(logging.Formatter("%(message)s"))
    for package in ("narrows", "stages"):
        log = logging.getLogger(package)
        log.handlers, log.propagate = [handler], False
        log.setLevel(level.upper())


def command() -> int:
    """`main` as all that the process does."""
    with rarely_collected():
        try:
            try:
                return main()
            finally:
                sys.stdout.flush()
        except BrokenPipeError:
            if not status.reader_has_gone():
                raise
            return status.end_quietly()


if __name__ == "__main__":
    sys.exit(command())
