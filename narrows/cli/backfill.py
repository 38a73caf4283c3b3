"""``narrows backfill``: the tables of many as-ofs, many to a job."""

from __future__ import annotations

import argparse
import json
import logging
from argparse import Namespace
from typing import TYPE_CHECKING

from narrows.cli.command import Command, as_json, force
from narrows.pipeline import Pipeline

if TYPE_CHECKING:
    from narrows.run.backfill import Progress
    from narrows.settings import Settings

LOG = logging.getLogger(__name__)


def backfill(settings: Settings, args: Namespace) -> int:
    """Make what is missing; the last line says how many a minute."""
    from narrows.engine.java import require_java
    from narrows.run.backfill import asofs_between, rooms
    from narrows.run.backfill import backfill as fill
    from narrows.run.runner import Runner
    from narrows.settings import SettingsError

    try:
        asofs = asofs_between(settings.asof(args.first), settings.asof(args.last))
    except ValueError as error:
        raise SettingsError(str(error)) from None
    require_java()
    runner = Runner(settings, f"backfill-{asofs[0]}-{asofs[-1]}", in_background=True, force=args.force)
    with runner.store.lock(f"narrows backfill --from {asofs[0]} --to {asofs[-1]}"):
        done = fill(runner, asofs, say)
    if args.json:
        facts = {"from": str(asofs[0]), "to": str(asofs[-1]), "rooms": rooms(runner)}
        print(json.dumps(facts | {"made": done.made, "there": done.there, "seconds": round(done.seconds, 1)}))
    else:
        print(f"{', '.join(rooms(runner))}: {done.made} as-ofs made, {done.there} were there{_rate(done)}")
    return 0


def say(progress: Progress) -> None:
    """A line of progress."""
    done = progress.there + progress.made
    LOG.info("backfill: %d of %d as-ofs%s", done, progress.wanted, _rate(progress))


def _rate(progress: Progress) -> str:
    return f", {progress.a_minute:.1f} a minute" if progress.made else ""


def _arguments(parser: argparse.ArgumentParser, pipeline: Pipeline) -> None:
    parser.add_argument("--from", dest="first", required=True, metavar="ASOF", help="the first as-of that is made")
    parser.add_argument("--to", dest="last", required=True, metavar="ASOF", help="the last")
    force(parser)
    as_json(parser)


COMMAND = Command("backfill", "Make the events and profiles of many as-ofs, many to a job.", backfill, _arguments, (
    ("narrows backfill --from 2017-11-01 --to 2017-11-30", "what is missing of a month; what is there stays"),
    ("narrows backfill --from 2017-10-09T00 --to 2017-10-09T23", "the hours of a day, where the grain is an hour"),
))  # fmt: skip
