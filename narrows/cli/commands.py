"""Every command of ``narrows``, in the order of ``narrows --help``.

To add one: a module ``narrows/cli/<command>.py`` with its function, its arguments and a `Command`, and its entry here.
"""

from __future__ import annotations

from narrows.cli import (
    catalogue,
    compare,
    completion,
    demo,
    doctor,
    gc,
    init,
    published,
    rooms,
    running,
    show,
    takedown,
    ui,
    why,
    world,
)
from narrows.cli.command import Command

COMMANDS: dict[str, Command] = {
    command.name: command
    for command in (
        demo.COMMAND,
        world.COMMAND,
        init.COMMAND,
        doctor.COMMAND,
        rooms.COMMAND,
        *running.COMMANDS,
        published.COMMAND,
        compare.COMMAND,
        show.COMMAND,
        why.COMMAND,
        takedown.COMMAND,
        gc.COMMAND,
        ui.COMMAND,
        catalogue.COMMAND,
        completion.COMMAND,
    )
}
