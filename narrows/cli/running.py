"""The commands that make tables: ``run``, ``dag``, ``transform`` and ``fit``."""

from __future__ import annotations

import argparse
import json
import logging
import os
from argparse import Namespace
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from narrows.cli import catching_up
from narrows.cli.catching_up import catch_up
from narrows.cli.command import Command, as_json, asof_to_make, force
from narrows.cli.report.published import print_newest
from narrows.pipeline import Pipeline
from narrows.stage import settings_of

if TYPE_CHECKING:
    from narrows.asof import Asof
    from narrows.run.runner import Runner
    from narrows.settings import Settings
    from narrows.stage import Table
    from narrows.tracking.log import RunLog

LOG = logging.getLogger(__name__)


def run(settings: Settings, args: Namespace) -> int:
    """The whole line in this process."""
    if args.catch_up:
        catch_up(settings, args.asof, args.catch_up)
    run_line(settings, args.asof, args.force)
    return print_newest(settings, args.asof, args.json)


def run_line(settings: Settings, asof: Asof, force: bool = False) -> None:
    """Every room of the pipeline in order, in this process, as one run."""
    from datetime import UTC, datetime

    from narrows.cli.recording import log_what_is_owed
    from narrows.engine.java import require_java

    require_java()
    run_id = f"line-{asof}-{datetime.now(UTC):%Y%m%dT%H%M%S}"
    runner, journal = connect(settings, run_id, asof, force)
    runner.overlaps = True
    with runner.store.lock(f"narrows run --asof {asof}"):
        log_what_is_owed(runner)
        try:
            names = settings.pipeline.names
            for number, room in enumerate(names, 1):
                make(runner, room, asof)
                if not any(runner.asks_spark(later) for later in names[number:]):
                    runner.end_session()
        except BaseException:
            if runner.new_versions:
                journal.finish({}, "FAILED")
            raise
        finally:
            runner.publisher.close()


def dag(settings: Settings, args: Namespace) -> int:
    """The whole line as a run of the daily DAG."""
    from importlib import import_module
    from threading import Thread

    from narrows.cli.airflow.workflow import run_dag
    from narrows.engine.java import require_java
    from narrows.store.partitions import open_store

    require_java()
    if args.file:
        os.environ["NARROWS_FILE"] = str(args.file.absolute())  # the tasks are processes of their own
    Thread(target=import_module, args=("pyarrow.dataset",), daemon=True).start()  # for the report, while Airflow starts
    code = run_dag(str(args.asof), settings.state, force=args.force, store=open_store(settings))
    return code or print_newest(settings, args.asof, args.json)


def transform(settings: Settings, args: Namespace) -> int:
    """One room; the version is the last word on standard output."""
    from narrows.cli.recording import log_what_is_owed

    if args.catch_up:
        catch_up(settings, args.asof, args.catch_up)
    runner, _ = connect(settings, args.run_id or f"rooms-{args.asof}", args.asof, args.force)
    runner.given = {(room, args.asof): version for room, version in args.reads}
    with runner.store.lock(f"narrows transform {args.room} --asof {args.asof}"):
        log_what_is_owed(runner)
        table = make(runner, args.room, args.asof)
    if args.json:
        facts = {"room": args.room, "asof": str(args.asof), "version": table.version if table else None}
        print(json.dumps(facts | {"rows": table.rows if table else None, "pending": table is None}))
    else:
        print(table.version if table else "pending")
    return 0


def fit(settings: Settings, args: Namespace) -> int:
    """One room's model; its folder is printed."""
    runner, _ = connect(settings, args.run_id or f"rooms-{args.asof}", args.asof)
    with runner.store.lock(f"narrows fit {args.room} --asof {args.asof}"):
        model = runner.model(args.room, args.asof)[1]
    folder = str(model.model_folder)
    facts = {"room": args.room, "asof": str(args.asof), "version": model.version, "folder": folder}
    print(json.dumps(facts) if args.json else folder)
    return 0


def make(runner: Runner, room: str, asof: Asof) -> Table | None:
    """Run a room; None if it waits for its horizon. The last room closes the run in MLflow."""
    from narrows.cli.recording import close, last_room

    if room != runner.pipeline.names[-1]:
        return _made(runner, room, asof)
    with last_room(runner, asof):
        table = _made(runner, room, asof)
        close(runner, asof, table, runner.judge(room, asof))
    return table


def _made(runner: Runner, room: str, asof: Asof) -> Table | None:
    from narrows.engine.memory import REMEDY, OutOfMemory, ran_out
    from narrows.run.runner import Pending

    table: Table | None = None
    try:
        table = runner.run(room, asof)
    except Pending as waits:
        LOG.info("  %-16s %s  waits: %s", room, asof, waits)
    except Exception as error:
        if ran_out(error):
            raise OutOfMemory(
                f"{room} as of {asof} ran out of memory; nothing of it was published. {REMEDY}"
            ) from error
        raise
    return table


def connect(settings: Settings, run_id: str, asof: Asof, force: bool = False) -> tuple[Runner, RunLog]:
    """A runner that logs to MLflow."""
    from narrows.run.runner import Runner
    from narrows.tracking.log import RunLog

    run_log = RunLog(settings, run_id, asof)
    return Runner(settings, run_id, run_log, in_background=True, force=force), run_log


def line_arguments(parser: argparse.ArgumentParser, pipeline: Pipeline) -> None:
    """Of ``run`` and ``dag``; their output is the report."""
    asof_to_make(parser)
    as_json(parser)
    force(parser)


def run_arguments(parser: argparse.ArgumentParser, pipeline: Pipeline) -> None:
    """Of ``run``."""
    line_arguments(parser, pipeline)
    catching_up.argument(parser)


def transform_arguments(parser: argparse.ArgumentParser, pipeline: Pipeline) -> None:
    """A parser for every room."""
    for room in _rooms(parser, pipeline, lambda kind: True):
        force(room)
        catching_up.argument(room)
        room.add_argument(
            "--reads",
            action="append",
            default=[],
            type=version_of_a_room,
            metavar="ROOM=VERSION",
            help="read just this version of another room's table of the same as-of, and fail where the store has none: what "
            "an earlier task handed on (may be repeated)",
        )


def version_of_a_room(text: str) -> tuple[str, str]:
    """A room and the version of its table; in an error argparse names this function."""
    room, _, version = text.partition("=")
    if not room or not version:
        raise ValueError(text)
    return room, version


def fit_arguments(parser: argparse.ArgumentParser, pipeline: Pipeline) -> None:
    """A parser for every room that learns."""
    _rooms(parser, pipeline, lambda kind: hasattr(kind, "fit"))


def _rooms(
    parser: argparse.ArgumentParser, pipeline: Pipeline, fits: Callable[[Any], bool]
) -> list[argparse.ArgumentParser]:
    """A parser for each fitting room, whose settings are its flags."""
    rooms, made = parser.add_subparsers(dest="room", required=True, metavar="ROOM"), []
    for kind in filter(fits, pipeline.rooms):
        about = " ".join((kind.__doc__ or "").split())
        one = rooms.add_parser(kind.name, help=about.partition(". ")[0].rstrip("."), description=about)
        asof_to_make(one)
        as_json(one)
        one.add_argument("--run-id", default="", help="what groups the rooms of one run in MLflow")
        for key, value in settings_of(kind()).items():
            one.add_argument(
                f"--{key.replace('_', '-')}",
                dest=f"set_{key}",
                metavar=type(value).__name__.upper(),
                help=f"default {value!r}",
            )
        made.append(one)
    return made


COMMANDS = (
    Command("fit", "Learn a room's model as of a day.", fit, fit_arguments, (
        ("narrows fit recall --asof 2017-11-30", "fit a room's model; prints its folder"),
    )),
    Command("transform", "Make a room's table as of a day.", transform, transform_arguments, (
        ("narrows transform recall --asof 2017-11-30 --n 300", "one room, with a setting of its own"),
    )),
    Command("run", "Run the whole line, without Airflow.", run, run_arguments, (
        ("narrows run", "the whole line, without Airflow, as of the latest day that can be judged"),
        ("narrows run --asof 2017-11-30", "the same as of another day"),
        ("narrows run --asof 2017-10-09T15 --catch-up 1h", "the hours since the last lists, in order, then this one"),
    )),
    Command("dag", "Run the daily DAG in Airflow, and wait.", dag, line_arguments, (
        ("narrows dag --asof 2017-11-30", "the same as a run of the daily DAG in Airflow"),
    )),
)  # fmt: skip
