"""Making up for as-ofs that were missed, in order, before a run's own: what a run by the clock does after an outage."""

from __future__ import annotations

import argparse
import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from narrows.durations import parse

if TYPE_CHECKING:
    from narrows.asof import Asof
    from narrows.settings import Settings

LOG = logging.getLogger(__name__)


def catch_up(settings: Settings, asof: Asof, every: timedelta) -> list[Asof]:
    """Run the whole line for each as-of that was missed since the last lists, oldest first; those that were made.

    Each is a run of its own, which knows what had arrived by its as-of, as it would have been then. One that cannot be made is
    warned of and passed over.

    Args:
        settings: of all runs.
        asof: the run that comes after them.
        every: how far apart runs are by the clock.

    Raises:
        Exception: an as-of failed for a reason that may mend itself: it is still missed, and so are the later ones.
    """
    from traceback import format_exception

    from narrows.cli.failures import REMEDIES, mends_itself
    from narrows.cli.running import run_line
    from narrows.engine.memory import OutOfMemory
    from narrows.run.missed import missed
    from narrows.store.partitions import open_store

    made, todo = [], missed(settings, open_store(settings), asof, every)
    for number, each in enumerate(todo, 1):
        LOG.info("%s was missed: it is made before %s (%d of %d)", each, asof, number, len(todo))
        try:
            run_line(settings, each)
        except OutOfMemory:
            raise
        except Exception as error:
            if mends_itself(error):
                raise
            if not isinstance(error, REMEDIES):
                LOG.info("".join(format_exception(error)).rstrip())
            LOG.warning("!! %s was missed and cannot be made up for: %s: %s", each, type(error).__name__, error)
            continue
        made.append(each)
    return made


def argument(parser: argparse.ArgumentParser) -> None:
    """``--catch-up``."""
    parser.add_argument(
        "--catch-up",
        type=duration,
        metavar="EVERY",
        help="first make the lists that were missed since the last ones, in order, where a run is due so often: 1h, 1d",
    )


def duration(text: str) -> timedelta:
    """A duration; in an error argparse names this function."""
    return parse(text)
