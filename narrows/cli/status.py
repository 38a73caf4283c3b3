"""The exit statuses of ``narrows``, and what a program's end looks like."""

from __future__ import annotations

import os
import select
import sys

OK, FAILED, WRONG_USE, TRY_AGAIN, STOPPED, NO_READER, TERMINATED = 0, 1, 2, 75, 130, 141, 143
MEANINGS = {
    OK: ("done", ""),
    FAILED: ("a room or a server failed, or the disk is full", "run again: it goes on from what is published"),
    WRONG_USE: (
        "the remedy is yours: wrong use or settings, a broken contract or policy, a failed gate",
        "do what the line on standard error says; no retry helps",
    ),
    TRY_AGAIN: (
        "it may mend itself: a source file that is not there yet, a failed fetch, a held store, a database or server that is away",
        "run again later; a task of the DAG does",
    ),
    STOPPED: ("Ctrl-C", "run again: it goes on from what is published"),
    NO_READER: ("who read the output has gone, as in `narrows show 1 \\| head -1`", "nothing"),
    TERMINATED: ("SIGTERM during `narrows dag` or `narrows ui`; what they had started has ended", "as after Ctrl-C"),
}
"""What each means, and what to do."""


def reader_has_gone() -> bool:
    """Whether standard output is a pipe that nobody reads any more: no fault of ours, unlike that of another pipe."""
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        return any(event & select.POLLERR for _, event in poll.poll(0))
    except (OSError, ValueError, AttributeError):
        return False


def end_quietly() -> int:
    """Let Python's own flush at the end find a stream that takes everything."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    return NO_READER
