"""Every command of ``narrows``, in the order of ``narrows --help``.

To add one: a module ``narrows/cli/<command>.py`` with its function, its arguments and a `Command`, and its entry here.
"""

from __future__ import annotations

from narrows.cli import catalogue, completion, doctor, published, rooms, running, show, takedown, ui, why
from narrows.cli.command import Command

COMMANDS: dict[str, Command] = {
    command.name: command
    for command in (
        rooms.COMMAND,
        *running.COMMANDS,
        published.COMMAND,
        show.COMMAND,
        why.COMMAND,
        takedown.COMMAND,
        ui.COMMAND,
        catalogue.COMMAND,
        doctor.COMMAND,
        completion.COMMAND,
    )
}
