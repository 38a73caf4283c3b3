"""Every command of ``narrows``, in the order of ``narrows --help``.

To add one: a module of ``narrows/cli/`` with its function, its arguments and a `Command`, and its entry here.
"""

from __future__ import annotations

from narrows.cli import backfill, catalogue, completion, gc, rooms, running, stream
from narrows.cli.check import doctor
from narrows.cli.codesign import command as codesign
from narrows.cli.command import Command
from narrows.cli.compare import runs as compare
from narrows.cli.data import demo, init, world
from narrows.cli.lists import show, takedown, why
from narrows.cli.pages import ui
from narrows.cli.report import published
from narrows.cli.services import command as services

COMMANDS: dict[str, Command] = {
    command.name: command
    for command in (
        demo.COMMAND,
        world.COMMAND,
        init.COMMAND,
        doctor.COMMAND,
        rooms.COMMAND,
        *running.COMMANDS,
        backfill.COMMAND,
        stream.COMMAND,
        published.COMMAND,
        compare.COMMAND,
        show.COMMAND,
        why.COMMAND,
        takedown.COMMAND,
        codesign.COMMAND,
        gc.COMMAND,
        ui.COMMAND,
        *services.COMMANDS,
        catalogue.COMMAND,
        completion.COMMAND,
    )
}
