"""``narrows stream``: what has arrived in a live feed, taken into the source, and the tables of the periods that have ended."""

from __future__ import annotations

import argparse
import json
import logging
from argparse import Namespace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from narrows.asof import EPOCH, Asof
from narrows.cli.command import Command, as_json
from narrows.columns import INGESTED_AT
from narrows.pipeline import Pipeline

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from narrows.settings import Settings
    from narrows.stream.pieces import Taken

LOG = logging.getLogger(__name__)


def stream(settings: Settings, args: Namespace) -> int:
    """Take what has arrived, and with ``--tables`` make what has ended; the last line says what."""
    from narrows.engine.java import require_java
    from narrows.engine.spark import spark_session
    from narrows.source.files import open_source
    from narrows.stream.query import opened, take

    source, measured = open_source(settings), Measure(settings)
    opened(settings, source, measured)  # what is wrong with the settings is said before Spark starts
    require_java()
    pieces = take(spark_session(settings.spark, settings.engine), settings, source, measured)
    taken = pieces.taken()
    facts: dict[str, Any] = {"pieces": pieces.made, "rows": pieces.rows, "until": taken.until}
    said = f"{pieces.rows:,} rows in {len(pieces.made)} pieces; the last arrived at {taken.until or 'no time yet'}"
    if args.tables:
        facts["made"] = [str(asof) for asof in _tables(settings, taken)]
        said += f"; tables made as of {', '.join(facts['made']) or 'no further period'}"
    print(json.dumps(facts) if args.json else said)
    return 0


class Measure:
    """How many rows there are, and when the first and the last sound one arrived, by the rules of the events room."""

    def __init__(self, settings: Settings) -> None:
        self.source = settings.source
        self.skew = getattr(settings.rooms.get("events"), "max_clock_skew_hours", 24.0)

    def __call__(self, mapped: DataFrame) -> tuple[int, datetime | None, datetime | None]:
        from pyspark.sql import functions as F

        from stages.events.rows import judged, typed

        rows = judged(typed(mapped, self.source), self.skew, datetime.now(UTC))  # the future is not known yet
        sound = F.when(F.col("reason").isNull(), F.unix_micros(INGESTED_AT))
        count, *span = rows.agg(F.count("*"), F.min(sound), F.max(sound)).collect()[0]
        first, last = (None if micros is None else EPOCH + timedelta(microseconds=micros) for micros in span)
        return count, first, last


def ended(until: datetime, lateness: timedelta, grain: timedelta) -> Asof:
    """The last period that has ended, where rows have arrived until an instant."""
    return Asof.of_period((until - lateness - EPOCH) // grain - 1, grain)


def _tables(settings: Settings, taken: Taken) -> list[Asof]:
    """Make the tables of `narrows backfill` of the periods that have ended since the newest there is; of none, of the last."""
    from narrows.cli.backfill import say
    from narrows.run.backfill import asofs_between, backfill
    from narrows.run.runner import Runner

    if not taken.until:
        return []
    last = ended(datetime.fromisoformat(taken.until), settings.stream.lateness_length, settings.source.grain_length)
    if last.end <= datetime.fromisoformat(taken.begins):
        return []
    runner = Runner(settings, f"stream-{last}", in_background=True)
    with runner.store.lock(f"narrows stream --tables as of {last}"):
        there = [
            asof for asof in runner.store.partitions(runner.source_room) if runner.published(runner.source_room, asof)
        ]
        first = max(there) + last.grain if there else last
        asofs = asofs_between(first, last) if first <= last else []
        backfill(runner, asofs, say)
    return asofs


def _arguments(parser: argparse.ArgumentParser, pipeline: Pipeline) -> None:
    parser.add_argument(
        "--tables", action="store_true", help="then make events and profiles of the periods that have ended"
    )
    as_json(parser)


COMMAND = Command("stream", "Take what has arrived in a live feed ([stream]) into the source, each row once.", stream, _arguments, (
    ("narrows stream", "what has arrived since the last time; then it ends"),
    ("narrows stream --tables", "and the events and profiles of the periods that have ended, in order"),
    ("NARROWS_STREAM__LANDING=landing narrows stream", "from another folder than narrows.toml says"),
))  # fmt: skip
