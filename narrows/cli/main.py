"""The command line: ``narrows``."""

from __future__ import annotations

import argparse
import errno
import logging
import os
import sys
import tempfile
from pathlib import Path

from narrows.cli.terminal import degrade
from narrows.engine.garbage import rarely_collected
from narrows.pipeline import Pipeline, PipelineError, configured
from narrows.settings import Settings, SettingsError, load_settings
from narrows.stage import settings_of

EXAMPLES = """examples:
  narrows run --asof 2017-11-30        the whole line, without Airflow
  narrows dag --asof 2017-11-30        the same as a run of the daily DAG in Airflow
  narrows transform recall --asof 2017-11-30 --n 300
  narrows report                       what the newest run did, on one screen
  narrows show 1                       the list that user 1 is served
  narrows why 1 1082185                what happened to item 1082185 for user 1
  narrows ui                           Airflow, MLflow, reports and data docs; runs what is triggered there

Settings come from narrows.toml in the current folder (or --file, or NARROWS_FILE);
NARROWS_SECTION__KEY overrides a key.
"""
ASOF = "up to whose end events may be known: YYYY-MM-DD, or YYYY-MM-DDTHH where the grain is an hour"
UI = "Serve Airflow, MLflow, the reports and the data docs on 127.0.0.1 until Ctrl-C, and run what is triggered in Airflow."
UI_STARTS = """Airflow's API server, scheduler and DAG processor, MLflow's server, and a server of the reports and data docs.
Trigger and Backfill work at once, before the first run too; no run starts by the clock. While this is up, `narrows dag`
hands its run to the scheduler. A run that is not over at Ctrl-C goes on when this is started next."""
UI_EXAMPLES = """examples:
  narrows ui                 Airflow on 8080, MLflow on 8081, reports and data docs on 8082
  narrows ui --port 9080     on 9080, 9081 and 9082"""
FORCE = "also where the source does not reach the as-of; such lists do not go live"
LEVELS = ("debug", "info", "warning", "error")
WRONG_USE = 2
"""Exit status of what no retry mends: wrong settings, a missing file, a held store."""
FULL = ("No space left on device", "Disk quota exceeded", "database or disk is full")
"""What the system and SQLite say of a full disk; Spark, Arrow, SQLAlchemy and MLflow hand the words on."""


# a thread that waits for others soon sleeps: on a shared machine endless spinning costs several times the work
os.environ.setdefault("GOMP_SPINCOUNT", "100000")


def main(argv: list[str] | None = None) -> int:
    """Run one command; the exit status is 0, 1 where a room failed, 2 where the remedy is yours."""
    for stream in (sys.stdout, sys.stderr):
        degrade(stream)
    try:
        parser = build_parser(configured(_file(sys.argv[1:] if argv is None else argv)))
    except PipelineError as error:
        print(f"narrows: {error}", file=sys.stderr)
        return WRONG_USE
    args = parser.parse_args(argv)
    log_to_stderr(args.log_level)
    from narrows.cli.commands import COMMANDS, REMEDIES

    try:
        settings = load_settings(args.file)
        settings = with_flags(settings, args)
        if getattr(args, "asof", None):
            args.asof = settings.asof(args.asof)
        return COMMANDS[args.command](settings, args) or 0
    except (SettingsError, *REMEDIES) as error:
        print(f"narrows: {error}", file=sys.stderr)
        return WRONG_USE
    except KeyboardInterrupt:
        print("narrows: stopped; the next run goes on from what is published", file=sys.stderr)
        return 130
    except Exception as error:
        if not disk_is_full(error):
            raise
        print(
            f"narrows: no space is left for {settings.state} (or for {tempfile.gettempdir()}). Free some and run again: "
            "the run goes on from what is published",
            file=sys.stderr,
        )
        return 1


def disk_is_full(error: BaseException | None) -> bool:
    """Whether the error, or one that it came from, is of a full disk."""
    if error is None:
        return False
    by_number = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    by_words = any(words in str(error) for words in FULL)
    return by_number or by_words or disk_is_full(error.__cause__ or error.__context__)


def build_parser(pipeline: Pipeline) -> argparse.ArgumentParser:
    """All commands with their flags; a room's settings are flags of ``fit`` and ``transform``."""
    parser = argparse.ArgumentParser(
        prog="narrows", description="A recommendation cascade you can measure.", epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--file", type=Path, help="the settings file (default: narrows.toml here, if there is one)")
    parser.add_argument("--log-level", choices=LEVELS, default="info", help="what progress says (default info)")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str, asof: bool = False, as_json: bool = False) -> argparse.ArgumentParser:
        subparser = commands.add_parser(
            name, help=text, description=text, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        if asof:
            subparser.add_argument("--asof", required=True, help=ASOF)
        if as_json:
            subparser.add_argument("--json", action="store_true", help="print JSON")
        return subparser

    command("list", "The rooms in order, what each reads, and its newest partition.", as_json=True)
    for name, text in (("fit", "Learn a room's model as of a day."), ("transform", "Make a room's table as of a day.")):
        subparser = command(name, text)
        rooms = subparser.add_subparsers(dest="room", required=True, metavar="ROOM")
        for kind in pipeline.rooms:
            room = kind.name
            if name == "transform" or hasattr(kind, "fit"):
                one = rooms.add_parser(room, help=(kind.__doc__ or "").splitlines()[0], description=kind.__doc__)
                one.add_argument("--asof", required=True, help=ASOF)
                if name == "transform":
                    one.add_argument("--force", action="store_true", help=FORCE)
                one.add_argument("--run-id", default="", help="what groups the rooms of one run in MLflow")
                for key, value in settings_of(kind()).items():
                    one.add_argument(
                        f"--{key.replace('_', '-')}",
                        dest=f"set_{key}",
                        metavar=type(value).__name__.upper(),
                        help=f"default {value!r}",
                    )
    for name, text in (
        ("run", "Run the whole line, without Airflow."),
        ("dag", "Run the daily DAG in Airflow, and wait."),
    ):
        command(name, text, asof=True).add_argument("--force", action="store_true", help=FORCE)
    subparser = command("report", "What a run did: stages, quality, cost.", as_json=True)
    subparser.add_argument("--asof", help="default: the newest partition")
    subparser = command("show", "The list that a user is served now.", as_json=True)
    subparser.add_argument("user", help="the user's id, as the source has it")
    subparser.add_argument("--scene", default="home", help="where the list is shown (default home)")
    subparser = command("why", "What happened to an item for a user, stage by stage.", as_json=True)
    subparser.add_argument("user", help="the user's id, as the source has it")
    subparser.add_argument("item", help="the item's id")
    subparser.add_argument("--asof", help="default: the newest partition")
    subparser = command("takedown", "Remove an item from every list at the next read.")
    subparser.add_argument("item", help="the item's id")
    subparser.add_argument("--reason", default="", help="kept beside it")
    subparser.add_argument("--undo", action="store_true", help="put it back")
    subparser.add_argument("--force", action="store_true", help="also an item that no list and no item profile has yet")
    subparser = command("ui", UI)
    subparser.description, subparser.epilog = f"{UI}\n\n{UI_STARTS}", UI_EXAMPLES
    subparser.add_argument(
        "--port", type=int, default=8080, help="of the first page; the others take the next two (default 8080)"
    )
    command("catalogue", "Every feature with its definition, as Markdown.")
    command("doctor", "Check Java, the settings, the source and the device.")
    return parser


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
        return main()


if __name__ == "__main__":
    sys.exit(command())
