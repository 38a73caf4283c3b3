"""``narrows doctor``: what a run will need, checked before it is needed, one line a check."""

from __future__ import annotations

import argparse
import json
from argparse import Namespace
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from narrows.cli.check.finding import Check, Counts, fails, ok
from narrows.cli.command import Command, as_json
from narrows.cli.invocation import FILE
from narrows.engine.java import check_java
from narrows.pipeline import Pipeline

if TYPE_CHECKING:
    from narrows.settings import Settings

TEXT = "Check what a run will need: Java, the columns, dates, memory, disk, the database, the tracking server."


def doctor(settings: Settings, args: Namespace) -> int:
    """Print the checks; 0 where a run can start, else 2."""
    checks = []
    for check in checked(settings):
        checks.append(check)
        if not args.json:
            print(check.line(), flush=True)
    ready = all(check.status != "fails" for check in checks)
    if args.json:
        print(json.dumps({"ready": ready, "checks": [asdict(check) for check in checks]}, indent=1))
    elif not ready:
        print("a run cannot start yet: see what fails")
    return 0 if ready else 2


def checked(settings: Settings) -> Iterator[Check]:
    """Every check, in the order in which a run would meet what it is about."""
    from narrows.cli.check import machine as check_machine
    from narrows.cli.check import source as check_source

    yield ok("settings", f"{settings.base / FILE}" if (settings.base / FILE).is_file() else f"no {FILE} here: defaults")
    java = check_java()
    yield fails("java", java) if java else ok("java", "found")
    counts: Counts | None = None
    for check in check_source.checks(settings, with_spark=not java):
        if isinstance(check, Counts):
            counts = check
        else:
            yield check
    yield check_machine.memory(settings, counts)
    yield check_machine.disk(settings, counts)
    for name, about in (
        ("database", check_machine.database),
        ("tracking", check_machine.tracking),
        ("device", check_machine.device),
        ("faiss", check_machine.faiss),
    ):
        yield _guarded(name, about, settings)
    if "://" in str(settings.tables):
        from narrows.cli.check import tables as check_tables

        yield _guarded("tables", check_tables.tables, settings)


def _guarded(name: str, about: Callable[[Settings], Check], settings: Settings) -> Check:
    try:
        return about(settings)
    except ImportError as error:
        return fails(
            name, f"the Python package {error.name} is missing. Run: pip install -e '.[cpu]' -c constraints.txt"
        )


def arguments(parser: argparse.ArgumentParser, pipeline: Pipeline) -> None:
    """``--json``."""
    as_json(parser)


COMMAND = Command("doctor", TEXT, doctor, arguments, (("narrows doctor", "check what a run will need"),))
